/**
 * The rules of dependency-cruiser for imports between source files. The folders of a package are
 * layers. A layer may import only earlier layers in the list of its package, and no files or
 * folders may form a cycle. An import of types counts too, because a reader must follow it.
 *
 * dependency-cruiser needs a TypeScript with a compiler API. TypeScript 7, which compiles the
 * project, has no such API: with TypeScript 7, dependency-cruiser skips every file and reports no
 * error. Therefore the package `test` installs TypeScript 5.9 for itself. The optional peer
 * dependency in the package.json of the root keeps npm from installing dependency-cruiser beside
 * TypeScript 7.
 */

/**
 * The layers of each folder, lowest first: a layer is a folder, or a file without its extension.
 */
export const layers = {
  'shared/src': [
    'internal',
    'limits',
    'closeCodes',
    'errors',
    'keys',
    'cells',
    'redactUrls',
    'strictOptions',
    'messages',
    'codec',
    'frequentFrames',
    'parseClientFrame',
    'parseBrokerFrame',
    'index',
  ],
  'client/src': [
    'platform',
    'transport',
    'requests',
    'locks',
    'webLocks',
    'session',
    'options',
    'connect',
    'index',
    'cells',
    'opentelemetry',
    'react',
    'internal',
  ],
  'server/src': [
    'core',
    'platform',
    'config',
    'protocol',
    'observability',
    'log',
    'connection',
    'access',
    'broker',
    'http',
    'options',
    'createBroker',
    'index',
    'cli',
    // Exports the internal modules of all layers, including the command line, to the tests.
    'internal',
  ],
  'server/src/log': ['log', 'memory', 'fences', 'journal', 'replicated', 'etcd', 'postgres'],
}

/** The dashboard is a client of the broker, so it is not a layer of the server. */
const dashboard = '^server/src/dashboard/'

/** Makes a rule for each layer: the layer must not import a later layer. */
function layerRules(folder) {
  const names = layers[folder]
  return names.slice(0, -1).map((name, index) => ({
    name: `${folder}/${name} imports no later layer`,
    severity: 'error',
    from: { path: pathOf(folder, [name]) },
    to: { path: pathOf(folder, names.slice(index + 1)) },
  }))
}

/** A pattern for folders and files with these names directly under `folder`. */
function pathOf(folder, names) {
  return `^${folder}/(?:${names.join('|')})(?:/|\\.tsx?$)`
}

/** Patterns for imports of `shared` and `client` by their names or by their built files. */
const shared = '(?:^@holdfast/shared|(?:^|/)shared/(?:dist|src)/)'
const idTable = '(?:^@holdfast/shared/idTable$|(?:^|/)shared/(?:dist|src)/internal/idTable\\.)'
const clientIndex = '(?:^@holdfast/client$|(?:^|/)client/dist/index\\.js$)'
const sharedIndex = '(?:^@holdfast/shared$|(?:^|/)shared/dist/index\\.js$)'

/** Modules that give a program time, chance or a later turn of the event loop. */
const timeModules =
  '^(?:node:)?(?:crypto|perf_hooks|timers|timers/promises)$|^nanoid|(?:^|/)node_modules/nanoid/'
const threads = '^(?:node:)?worker_threads$'

const checks =
  '^shared/src/messages/(?:clientSchemas|clientShapes|brokerSchemas|checkClientMessage)\\.ts$'
const webSocketLibrary = '(?:^ws$|(?:^|/)node_modules/ws/)'

/** The only files of the client that use Node, and the only files of the server that use `ws`. */
const clientOnNode = '^client/src/platform/webSocket/node(?:Frames)?\\.ts$'
const serverSocket = '^server/src/http/(?:ws/)?webSocket\\w*\\.ts$'

function forbid(name, from, to) {
  return { name, severity: 'error', from, to }
}

const pureCore = [
  forbid(
    'the core imports nothing at run time but itself and the id table',
    { path: '^(?:server/src/core/|shared/src/internal/idTable\\.ts)' },
    { pathNot: `^server/src/core/|${idTable}`, dependencyTypesNot: ['type-only'] },
  ),
  forbid(
    'the core imports nothing dynamically',
    { path: '^(?:server/src/core/|shared/src/internal/idTable\\.ts)' },
    { dynamic: true },
  ),
]

const oneClock = [
  forbid(
    'only the platform imports modules for time and chance',
    {
      path: '^(?:shared|client|server)/src/',
      pathNot: [
        '^server/src/platform/environment\\.ts$',
        '^server/src/cli/',
        '^client/src/platform/',
        '^server/src/dashboard/pageEnvironment\\.ts$',
      ],
    },
    { path: timeModules },
  ),
  forbid(
    'only the logs and the command line start threads',
    {
      path: '^(?:shared|client|server)/src/',
      pathNot: '^server/src/(?:log/(?:journal|replicated)|cli|platform)/',
    },
    { path: threads },
  ),
]

const browserSafe = [
  forbid(
    'what runs in a browser imports no module of Node',
    { path: `^(?:shared|client)/src/|${dashboard}`, pathNot: clientOnNode },
    { dependencyTypes: ['core'] },
  ),
  forbid(
    'what runs in a browser does not import ws',
    { path: `^(?:shared|client)/src/|${dashboard}`, pathNot: clientOnNode },
    { path: webSocketLibrary },
  ),
]

const meetInShared = [
  forbid(
    'shared imports no other package of this project',
    { path: '^shared/src/' },
    { path: '^@holdfast/|(?:^|/)(?:client|server)/(?:src|dist)/' },
  ),
  forbid(
    'the client imports only the index and the id table of shared',
    { path: '^client/src/' },
    { path: `^@holdfast/|${shared}|(?:^|/)server/`, pathNot: [sharedIndex, idTable] },
  ),
  forbid(
    'only the command line and the dashboard of the server import the client',
    { path: '^server/src/', pathNot: '^server/src/(?:cli|dashboard)/' },
    { path: '^@holdfast/client|(?:^|/)client/(?:src|dist)/' },
  ),
  forbid(
    // Most commands do not connect, and `serve` would load a quarter more modules at start.
    'the command line loads the client only when it connects',
    { path: '^server/src/cli/' },
    {
      path: '^@holdfast/client|(?:^|/)client/(?:src|dist)/',
      dynamic: false,
      dependencyTypesNot: ['type-only'],
    },
  ),
  forbid(
    'no package imports the sources of another one',
    { path: '^([^/]+)/src/' },
    { path: '^[^/]+/src/', pathNot: '^$1/src/' },
  ),
  forbid(
    'the dashboard imports nothing of this project but the index of the client',
    { path: dashboard },
    { path: `^@holdfast/|${shared}|(?:^|/)(?:client|server)/`, pathNot: [dashboard, clientIndex] },
  ),
  forbid(
    'the server imports nothing of the dashboard',
    { path: '^server/src/', pathNot: dashboard },
    { path: dashboard },
  ),
]

const lightShared = [
  forbid(
    'only the checks of the broker load superstruct',
    { path: '^shared/src/', pathNot: checks },
    { path: '(?:^|/)superstruct(?:/|$)', dependencyTypesNot: ['type-only'] },
  ),
  forbid(
    'what a browser loads of shared does not load the checks of the broker',
    { path: '^shared/src/', pathNot: checks },
    { path: checks, dependencyTypesNot: ['type-only'] },
  ),
]

const general = [
  forbid('no file imports itself through other files', {}, { circular: true }),
  {
    scope: 'folder',
    ...forbid('no folder imports itself through other folders', {}, { circular: true }),
  },
  forbid('every import is found', {}, { couldNotResolve: true }),
  forbid(
    'only the files of WebSockets in the server import ws',
    { path: '^server/src/', pathNot: serverSocket },
    { path: webSocketLibrary },
  ),
]

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...Object.keys(layers).flatMap(layerRules),
    ...pureCore,
    ...oneClock,
    ...browserSafe,
    ...meetInShared,
    ...lightShared,
    ...general,
  ],
  options: {
    parser: 'tsc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: ['node_modules', '(?:^|/)dist/'] },
    enhancedResolveOptions: {
      // The default list has 25 endings, and each import without an ending looks for all of them.
      extensions: ['.ts', '.tsx', '.d.ts', '.js'],
      // The files do not change while they are checked, so no result needs to expire, in ms.
      cachedInputFileSystem: { cacheDuration: 600_000 },
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
