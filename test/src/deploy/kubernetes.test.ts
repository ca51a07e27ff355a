/**
 * Tests the Kubernetes and Compose files in `server/deploy`: the selectors, volumes, ports,
 * networks and paths in these files must fit together. The brokers record all changes of locks in a
 * log on etcd or in PostgreSQL. A single broker records them in a journal, which is a log on disk.
 */
import { existsSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { assert } from 'chai'
import { root } from '../conventions/repository.js'
import {
  allFiles,
  brokersOf,
  composeFiles,
  deployFolder,
  environments,
  imageEnvironment,
  kubernetesObjects,
  podsOf,
  readDeployFile,
  readDeployYaml,
  type Yaml,
} from './deployFiles.js'

/** Whether labels have all values of a selector. */
function selects(selector: Yaml, labels: Yaml): boolean {
  return Object.entries(selector).every(([name, value]) => labels[name] === value)
}

describe('the Kubernetes files', () => {
  const yamlFiles = allFiles().filter(({ path }) => path.endsWith('.yaml'))

  it('can be parsed, like all other .yaml files', () => {
    // Fewer files would mean that the test does not find the folder.
    assert.isAbove(yamlFiles.length, 5)
    for (const { path } of yamlFiles)
      assert.isNotEmpty(readDeployYaml(path.slice(deployFolder.length + 1)), path)
  })

  for (const path of ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml']) {
    it(`${path}: the selectors match the pods, and each volume has a source and a mount`, () => {
      for (const { object, container } of podsOf(path)) {
        const { labels } = object.spec.template.metadata
        assert.isTrue(selects(object.spec.selector.matchLabels, labels))
        for (const { spec } of kubernetesObjects(path, 'Service'))
          assert.isTrue(selects(spec.selector, labels))
        const { volumes } = object.spec.template.spec
        const volumeNames = volumes.map(({ name }: Yaml) => name)
        const claims = object.spec.volumeClaimTemplates ?? []
        const claimNames = claims.map(({ metadata }: Yaml) => metadata.name)
        assert.sameMembers(
          container.volumeMounts.map(({ name }: Yaml) => name),
          [...volumeNames, ...claimNames],
        )
      }
    })

    it(`${path}: every path in the settings is in a mounted folder`, () => {
      const environment = environments().get(path) ?? {}
      const { container } = podsOf(path)[0]!
      const mounts: string[] = container.volumeMounts.map(({ mountPath }: Yaml) => mountPath)
      const paths = Object.values(environment).filter((value) => value.startsWith('/'))
      // At least the certificate, its key and the tokens.
      assert.isAbove(paths.length, 2)
      for (const file of paths) {
        assert.isTrue(
          mounts.some((mount) => file.startsWith(`${mount}/`)),
          file,
        )
      }
    })

    it(`${path}: the container runs as the user of the image, without privileges`, () => {
      const [, uid, gid] = /^USER (\d+):(\d+)$/m.exec(readDeployFile('Dockerfile')) ?? []
      for (const { object, container } of podsOf(path)) {
        const { runAsNonRoot, runAsUser, runAsGroup, fsGroup } =
          object.spec.template.spec.securityContext
        assert.deepEqual([runAsUser, runAsGroup, fsGroup].map(String), [uid, gid, gid])
        assert.isTrue(runAsNonRoot)
        const { allowPrivilegeEscalation, readOnlyRootFilesystem } = container.securityContext
        assert.deepEqual([allowPrivilegeEscalation, readOnlyRootFilesystem], [false, true])
      }
    })

    it(`${path}: the heap limit is half of the memory limit of the container`, () => {
      const { container } = podsOf(path)[0]!
      // NODE_OPTIONS ends with `--max-old-space-size=` and the heap limit in MiB.
      const [, mebibytes] = /=(\d+)$/.exec(environments().get(path)?.['NODE_OPTIONS'] ?? '') ?? []
      assert.equal(container.resources.limits.memory, `${(2 * Number(mebibytes)) / 1024}Gi`)
    })

    it(`${path}: only the owner and the group may read a secret`, () => {
      for (const { object } of podsOf(path)) {
        for (const { secret } of object.spec.template.spec.volumes) {
          assert.equal(secret.defaultMode, 0o440)
        }
      }
    })
  }

  it('keep a majority of the brokers while a machine is emptied, and have only one broker with a journal', () => {
    const { object } = podsOf('kubernetes/brokers.yaml')[0]!
    const [budget] = kubernetesObjects('kubernetes/brokers.yaml', 'PodDisruptionBudget')
    const { labels } = object.spec.template.metadata
    assert.isTrue(selects(budget.spec.selector.matchLabels, labels))
    assert.isBelow(budget.spec.minAvailable, object.spec.replicas)
    assert.isAbove(budget.spec.minAvailable, object.spec.replicas / 2)
    const { object: single } = podsOf('kubernetes/journal.yaml')[0]!
    assert.equal(single.spec.replicas, 1)
    const services = kubernetesObjects('kubernetes/journal.yaml', 'Service')
    assert.include(
      services.map(({ metadata }) => metadata.name),
      single.spec.serviceName,
    )
  })

  it('let Prometheus give the metrics the job that the alerts select', () => {
    const [monitor] = kubernetesObjects('kubernetes/monitoring.yaml', 'ServiceMonitor')
    const [{ port }] = monitor.spec.endpoints
    for (const path of ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml']) {
      const services = kubernetesObjects(path, 'Service').filter(({ metadata }) =>
        selects(monitor.spec.selector.matchLabels, metadata.labels),
      )
      assert.lengthOf(services, 1, path)
      const [{ metadata, spec }] = services as [Yaml]
      assert.equal(spec.ports[0].name, port)
      // `jobLabel` names a label of the service. The value of that label becomes the job.
      const job = metadata.labels[monitor.spec.jobLabel]
      assert.include(readDeployFile('prometheus/alerts.yaml'), `{job="${job}"}`)
    }
  })

  it('have a network policy that selects the pods of the brokers', () => {
    const [{ spec }] = readDeployYaml('kubernetes/network-policy.yaml')
    const { object } = podsOf('kubernetes/brokers.yaml')[0]!
    assert.isTrue(selects(spec.podSelector.matchLabels, object.spec.template.metadata.labels))
  })
})

describe('the Compose files', () => {
  for (const path of composeFiles) {
    it(`${path}: the image is built from this repository, and all mounts except the secrets exist`, () => {
      const [{ services, volumes }] = readDeployYaml(path)
      const base = join(root, deployFolder, 'compose')
      for (const [, { build }] of brokersOf(path)) {
        assert.equal(normalize(join(base, build.context, '/')), normalize(root))
        assert.isTrue(existsSync(join(base, build.context, build.dockerfile)))
      }
      const mounts = Object.values<Yaml>(services).flatMap((service) => service.volumes)
      for (const [source = ''] of mounts.map((mount: string) => mount.split(':'))) {
        if (!source.startsWith('.')) assert.property(volumes, source)
        else if (!source.startsWith('./secrets')) assert.isTrue(existsSync(join(base, source)))
      }
      // The folder of the secrets is not in the repository: a comment in the Compose file tells the
      // operator to make this folder. The image must not contain this folder.
      assert.include(readDeployFile(path), 'mkdir server/deploy/compose/secrets')
      assert.include(readDeployFile('Dockerfile.dockerignore'), '**/secrets')
    })

    it(`${path}: every path in the settings is in a mounted folder`, () => {
      for (const [, { environment, volumes }] of brokersOf(path)) {
        const targets = volumes.map((mount: string) => mount.split(':')[1])
        for (const value of Object.values<string>(environment)) {
          if (!value.startsWith('/')) continue
          assert.isTrue(
            targets.some((target: string) => value.startsWith(`${target}/`)),
            value,
          )
        }
      }
    })
  }

  it('cluster.yaml: brokers use all etcd servers, nginx uses all brokers, brokers trust nginx', () => {
    const [{ services }] = readDeployYaml('compose/cluster.yaml')
    const names = Object.keys(services)
    const etcds = names.filter((name) => name.startsWith('etcd-'))
    const peers = etcds.map((name) => `${name}=http://${name}:2380`).join(',')
    for (const name of etcds) {
      const { command } = services[name]
      for (const flag of [
        `--name=${name}`,
        `--initial-cluster=${peers}`,
        `--advertise-client-urls=http://${name}:2379`,
        `--initial-advertise-peer-urls=http://${name}:2380`,
      ]) {
        assert.include(command, flag)
      }
    }
    const log = `etcd://${etcds.map((name) => `${name}:2379`).join(',')}/holdfast`
    checkBrokers('compose/cluster.yaml', log)
  })

  it('postgres.yaml: brokers use PostgreSQL, nginx uses all brokers, brokers trust nginx', () => {
    const [{ services }] = readDeployYaml('compose/postgres.yaml')
    const user = services.postgres.environment.POSTGRES_USER
    const log = `postgres://${user}@postgres:5432/${user}?schema=holdfast&sslmode=disable`
    checkBrokers('compose/postgres.yaml', log)
    // The brokers and PostgreSQL must read the password from the same file. PostgreSQL mounts the
    // file itself, and the brokers mount its folder.
    const [, passwordFile] = /^(\.\/[^:]+):/.exec(services.postgres.volumes[1]) ?? []
    for (const [, { environment, volumes }] of brokersOf('compose/postgres.yaml')) {
      const [folderOfSecrets, mountedFolder] = volumes[0].split(':')
      const mountedFile = environment.HOLDFAST_LOG_PASSWORD_FILE
      assert.equal(passwordFile, mountedFile.replace(mountedFolder, folderOfSecrets))
    }
  })

  /** Checks that the brokers, their log and nginx fit together. */
  function checkBrokers(path: string, log: string): void {
    const [{ services }] = readDeployYaml(path)
    const conf = readDeployFile('nginx/holdfast.conf')
    const upstreams = Array.from(conf.matchAll(/^ {2}server (\S+):/gm), ([, name]) => name)
    const brokers = brokersOf(path)
    assert.deepEqual(
      brokers.map(([name]) => name),
      upstreams,
    )
    const [, serverName] = /server_name (\S+);/.exec(conf) ?? []
    const nginxAddress = services.nginx.networks.holdfast.ipv4_address
    for (const [, { environment }] of brokers) {
      assert.deepInclude(environment, {
        HOLDFAST_LOG: log,
        HOLDFAST_TRUSTED_PROXIES: nginxAddress,
        HOLDFAST_HOSTS: serverName,
      })
    }
    const addresses = Object.values<Yaml>(services).map(
      ({ networks }) => networks.holdfast?.ipv4_address,
    )
    const fixed = addresses.filter((address) => address !== undefined)
    // Three brokers and nginx have fixed addresses, which all differ.
    assert.lengthOf(new Set(fixed), 4)
  }

  it('set no variable that the image sets, and neither do the Kubernetes files', () => {
    for (const [path, environment] of environments()) {
      assert.doesNotHaveAnyKeys(environment, Object.keys(imageEnvironment()), path)
    }
  })
})
