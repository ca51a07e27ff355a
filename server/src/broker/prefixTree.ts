/**
 * A compressed prefix tree (radix tree) over UTF-16 units, which maps texts to values. The tree
 * finds the texts that are prefixes of a key, and the texts that begin with a prefix. The time to
 * find the prefixes of a key depends on the length of the key, and not on the number of texts.
 */

class Node<V> {
  /** The part of the text between the parent and this node; empty at the root only. */
  label: string
  value: V | undefined
  /** The children by the first unit of their labels; undefined for a node without children. */
  children: Map<number, Node<V>> | undefined

  constructor(label: string, value: V | undefined) {
    this.label = label
    this.value = value
  }

  /** The child whose label begins with the unit of `text` at the index `at`. */
  childFor(text: string, at: number): Node<V> | undefined {
    return at < text.length ? this.children?.get(text.charCodeAt(at)) : undefined
  }

  addChild(child: Node<V>): void {
    this.children ??= new Map()
    this.children.set(child.label.charCodeAt(0), child)
  }
}

export class PrefixTree<V extends object> {
  readonly #root = new Node<V>('', undefined)

  /** The value of exactly this text. */
  get(text: string): V | undefined {
    let node: Node<V> | undefined = this.#root
    for (let at = 0; at < text.length; at += node.label.length) {
      node = node.childFor(text, at)
      if (node === undefined || !text.startsWith(node.label, at)) return undefined
    }
    return node.value
  }

  /** Sets the value of this text. */
  set(text: string, value: V): void {
    let node = this.#root
    let at = 0
    while (at < text.length) {
      const child = node.childFor(text, at)
      if (child === undefined) {
        node.addChild(new Node(text.slice(at), value))
        return
      }
      const sharedUnits = sharedLength(child.label, text, at)
      node = sharedUnits === child.label.length ? child : splitLabel(node, child, sharedUnits)
      at += sharedUnits
    }
    node.value = value
  }

  /** Removes the value of this text, and the nodes that only this text needed. */
  delete(text: string): void {
    let grandparent: Node<V> | undefined
    let parent: Node<V> | undefined
    let node = this.#root
    for (let at = 0; at < text.length; at += node.label.length) {
      const child = node.childFor(text, at)
      if (child === undefined || !text.startsWith(child.label, at)) return
      grandparent = parent
      parent = node
      node = child
    }
    node.value = undefined
    if (parent === undefined) return
    if (node.children === undefined) {
      parent.children!.delete(node.label.charCodeAt(0))
      if (parent.children!.size === 0) parent.children = undefined
      // Without the deleted node, the parent may have only one child.
      mergeWithOnlyChild(grandparent, parent)
    } else mergeWithOnlyChild(parent, node)
  }

  /**
   * Visits the values of all texts that are prefixes of `key`, shortest first.
   *
   * @param visit Called with the value and the length of each such text.
   */
  visitPrefixesOf(key: string, visit: (value: V, length: number) => void): void {
    let node: Node<V> | undefined = this.#root
    let at = 0
    while (node !== undefined && key.startsWith(node.label, at)) {
      at += node.label.length
      if (node.value !== undefined) visit(node.value, at)
      node = node.childFor(key, at)
    }
  }

  /**
   * Visits the values of all texts that begin with `prefix` and are longer.
   *
   * @param visit Called with each value. Returns false to skip the longer texts that begin with the
   *   text of this value.
   */
  visitExtensionsOf(prefix: string, visit: (value: V) => boolean): void {
    let node: Node<V> | undefined = this.#root
    let at = 0
    while (at < prefix.length) {
      node = node.childFor(prefix, at)
      if (node === undefined) return
      const sharedUnits = sharedLength(node.label, prefix, at)
      at += sharedUnits
      // The prefix ends inside the label, so the text of this node is longer than the prefix.
      if (at === prefix.length && sharedUnits < node.label.length) {
        visitAll(node, visit)
        return
      }
      // No text begins with the prefix, because the label differs from the rest of the prefix.
      if (sharedUnits < node.label.length) return
    }
    // `node` has exactly the text `prefix`, so only the nodes below have longer texts.
    for (const child of node.children?.values() ?? []) visitAll(child, visit)
  }
}

/**
 * Visits the values of a node and of the nodes below; where `visit` returns false, skips the nodes
 * below. Uses a stack instead of recursion, because a tree can be as deep as its longest text.
 */
function visitAll<V>(top: Node<V>, visit: (value: V) => boolean): void {
  const stack = [top]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.value !== undefined && !visit(node.value)) continue
    if (node.children !== undefined) stack.push(...node.children.values())
  }
}

/** How many units at the beginning of `label` equal the units of `text` from `at` on. */
function sharedLength(label: string, text: string, at: number): number {
  const maxLength = Math.min(label.length, text.length - at)
  let length = 0
  while (length < maxLength && label.charCodeAt(length) === text.charCodeAt(at + length)) length++
  return length
}

/**
 * Splits the label of a child after `length` units. Returns the new node, which is between parent
 * and child and has no value.
 */
function splitLabel<V>(parent: Node<V>, child: Node<V>, length: number): Node<V> {
  const between = new Node<V>(child.label.slice(0, length), undefined)
  child.label = child.label.slice(length)
  between.addChild(child)
  parent.addChild(between)
  return between
}

/**
 * Merges a node without a value into its only child. Does nothing if the node has a value, has no
 * child or several children, or is the root, which has no parent.
 */
function mergeWithOnlyChild<V>(parent: Node<V> | undefined, node: Node<V>): void {
  if (parent === undefined || node.value !== undefined || node.children?.size !== 1) return
  const [child] = node.children.values()
  child!.label = node.label + child!.label
  parent.addChild(child!)
}
