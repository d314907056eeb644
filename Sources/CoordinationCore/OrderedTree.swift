// A persistent ordered map: a B+ tree whose nodes are copied when they are shared and changed in place when they are
// not. Taking a copy of the map is one retain, and the copy never changes again: that is how readers on other threads,
// watchers and snapshots see one instant of the state without a lock (ARCHITECTURE.md, "State").
//
// Invariants: keys ascend strictly within and across leaves; `separators[i]` is greater than every key below
// `children[i]` and not greater than any below `children[i + 1]`; `total` counts the entries below a node.

struct OrderedTree<Key: Comparable & Sendable, Value: Sendable>: Sendable {
  /// Entries in a leaf and children of an inner node. Small enough that the copy which the first change after a
  /// publication makes stays cheap, large enough that a million keys are four levels deep.
  static var nodeCapacity: Int { 32 }

  fileprivate(set) var root: Node?

  init() {}

  /// A tree over nodes that were built for it (OrderedTreeBuilding.swift) and that nobody else changes.
  init(root: Node?) {
    self.root = root
  }

  var count: Int { root?.total ?? 0 }
  var isEmpty: Bool { root == nil }

  /// A node is changed only while the tree that changes it holds the only reference to it on the whole path from its
  /// root (`isKnownUniquelyReferenced` at every level); every other tree sees nodes that no longer change. That is
  /// what makes sharing them between threads safe.
  final class Node: @unchecked Sendable {
    /// A leaf's keys; in an inner node, the separators between its children.
    var keys: ContiguousArray<Key>
    var values: ContiguousArray<Value>
    var children: ContiguousArray<Node>
    var total: Int

    var isLeaf: Bool { children.isEmpty }
    var slots: Int { isLeaf ? keys.count : children.count }

    init(keys: ContiguousArray<Key>, values: ContiguousArray<Value>) {
      self.keys = keys
      self.values = values
      self.children = []
      self.total = keys.count
    }

    init(separators: ContiguousArray<Key>, children: ContiguousArray<Node>) {
      precondition(children.count == separators.count + 1, "an inner node has one separator less than children")
      self.keys = separators
      self.values = []
      self.children = children
      self.total = children.reduce(0) { $0 + $1.total }
    }

    private init(copyOf other: Node) {
      keys = other.keys
      values = other.values
      children = other.children
      total = other.total
    }

    func copy() -> Node { Node(copyOf: self) }

    /// The first position whose key is not less than `key`.
    func lowerBound(_ key: Key) -> Int {
      var low = 0
      var high = keys.count
      while low < high {
        let middle = (low + high) / 2
        if keys[middle] < key { low = middle + 1 } else { high = middle }
      }
      return low
    }

    /// The child below which `key` belongs: one past the last separator that is not greater than it.
    func childIndex(for key: Key) -> Int {
      var low = 0
      var high = keys.count
      while low < high {
        let middle = (low + high) / 2
        if key < keys[middle] { high = middle } else { low = middle + 1 }
      }
      return low
    }

    func makeChildUnique(_ index: Int) {
      if !isKnownUniquelyReferenced(&children[index]) {
        children[index] = children[index].copy()
      }
    }
  }
}

// MARK: - Looking up

extension OrderedTree {
  subscript(key: Key) -> Value? {
    guard var node = root else { return nil }
    while !node.isLeaf { node = node.children[node.childIndex(for: key)] }
    let index = node.lowerBound(key)
    return index < node.keys.count && !(key < node.keys[index]) ? node.values[index] : nil
  }

  var first: (key: Key, value: Value)? {
    guard var node = root else { return nil }
    while !node.isLeaf { node = node.children[0] }
    return (node.keys[0], node.values[0])
  }

  /// The entry with the smallest key that is not less than `key`.
  func first(atOrAfter key: Key) -> (key: Key, value: Value)? {
    var found: (Key, Value)?
    forEach(from: key) {
      found = ($0, $1); return false
    }
    return found
  }

  /// The entry with the greatest key that is not greater than `key`.
  func last(atOrBefore key: Key) -> (key: Key, value: Value)? {
    root.flatMap { Self.last(atOrBefore: key, below: $0) }
  }

  private static func last(atOrBefore key: Key, below node: Node) -> (Key, Value)? {
    if node.isLeaf {
      var index = node.lowerBound(key)
      if index == node.keys.count || key < node.keys[index] { index -= 1 }
      return index >= 0 ? (node.keys[index], node.values[index]) : nil
    }
    var child = node.childIndex(for: key)
    while child >= 0 {
      if let found = last(atOrBefore: key, below: node.children[child]) { return found }
      child -= 1
    }
    return nil
  }

  /// How many keys are less than `key`.
  func rank(of key: Key) -> Int {
    guard var node = root else { return 0 }
    var before = 0
    while !node.isLeaf {
      let child = node.childIndex(for: key)
      for index in 0..<child { before += node.children[index].total }
      node = node.children[child]
    }
    return before + node.lowerBound(key)
  }

  /// Visits entries in ascending order from `lower` (or the first) up to but excluding `upper`, until `body` answers
  /// false.
  func forEach(from lower: Key? = nil, before upper: Key? = nil, _ body: (Key, Value) -> Bool) {
    if let root { _ = Self.visit(root, lower, upper, body) }
  }

  private static func visit(_ node: Node, _ lower: Key?, _ upper: Key?, _ body: (Key, Value) -> Bool) -> Bool {
    if node.isLeaf {
      for index in (lower.map(node.lowerBound) ?? 0)..<node.keys.count {
        if let upper, !(node.keys[index] < upper) { return false }
        if !body(node.keys[index], node.values[index]) { return false }
      }
      return true
    }
    let start = lower.map(node.childIndex(for:)) ?? 0
    for index in start..<node.children.count {
      if let upper, index > start, !(node.keys[index - 1] < upper) { return false }
      if !visit(node.children[index], index == start ? lower : nil, upper, body) { return false }
    }
    return true
  }
}

// MARK: - Changing

extension OrderedTree {
  /// Sets the value of `key` and returns the one that it had.
  @discardableResult
  mutating func updateValue(_ value: Value, forKey key: Key) -> Value? {
    guard root != nil else {
      root = Node(keys: [key], values: [value])
      return nil
    }
    let top = uniqueRoot()
    let (old, split) = Self.insert(value, key, into: top)
    if let split { root = Node(separators: [split.separator], children: [top, split.right]) }
    return old
  }

  @discardableResult
  mutating func removeValue(forKey key: Key) -> Value? {
    guard root != nil, self[key] != nil else { return nil }
    let old = Self.remove(key, from: uniqueRoot())
    collapseRoot()
    return old
  }

  /// Removes every entry whose key is less than `key`: whole subtrees at a time.
  mutating func removeAll(before key: Key) {
    guard root != nil else { return }
    Self.removeAll(before: key, below: uniqueRoot())
    collapseRoot()
  }

  private mutating func uniqueRoot() -> Node {
    if !isKnownUniquelyReferenced(&root), let shared = root { root = shared.copy() }
    guard let root else { preconditionFailure("the caller has checked that there is a root") }
    return root
  }

  private mutating func collapseRoot() {
    while let node = root, !node.isLeaf, node.children.count == 1 { root = node.children[0] }
    if root?.total == 0 { root = nil }
  }

  private typealias Split = (separator: Key, right: Node)

  private static func insert(_ value: Value, _ key: Key, into node: Node) -> (old: Value?, split: Split?) {
    if node.isLeaf {
      let index = node.lowerBound(key)
      if index < node.keys.count, !(key < node.keys[index]) {
        let old = node.values[index]
        node.values[index] = value
        return (old, nil)
      }
      node.keys.insert(key, at: index)
      node.values.insert(value, at: index)
      node.total += 1
      return (nil, node.keys.count > nodeCapacity ? splitLeaf(node, insertedAt: index) : nil)
    }
    let child = node.childIndex(for: key)
    node.makeChildUnique(child)
    let (old, split) = insert(value, key, into: node.children[child])
    if old == nil { node.total += 1 }
    guard let split else { return (old, nil) }
    node.keys.insert(split.separator, at: child)
    node.children.insert(split.right, at: child + 1)
    return (old, node.children.count > nodeCapacity ? splitInner(node, grewAt: child + 1) : nil)
  }

  /// A leaf that grows at its end is left full: revisions and leases arrive in ascending order.
  private static func splitLeaf(_ node: Node, insertedAt index: Int) -> Split {
    let middle = index == node.keys.count - 1 ? index : node.keys.count / 2
    let right = Node(
      keys: ContiguousArray(node.keys[middle...]), values: ContiguousArray(node.values[middle...]))
    node.keys.removeSubrange(middle...)
    node.values.removeSubrange(middle...)
    node.total = middle
    return (right.keys[0], right)
  }

  private static func splitInner(_ node: Node, grewAt index: Int) -> Split {
    let middle = index == node.children.count - 1 ? index - 1 : node.children.count / 2
    let separator = node.keys[middle - 1]
    let right = Node(
      separators: ContiguousArray(node.keys[middle...]), children: ContiguousArray(node.children[middle...]))
    node.keys.removeSubrange((middle - 1)...)
    node.children.removeSubrange(middle...)
    node.total -= right.total
    return (separator, right)
  }

  /// Removes a key that is known to be there.
  private static func remove(_ key: Key, from node: Node) -> Value? {
    node.total -= 1
    if node.isLeaf {
      let index = node.lowerBound(key)
      node.keys.remove(at: index)
      return node.values.remove(at: index)
    }
    let index = node.childIndex(for: key)
    node.makeChildUnique(index)
    let old = remove(key, from: node.children[index])
    mendChild(index, of: node)
    return old
  }

  /// Drops a child that became empty and merges one that became small with a neighbour, if both fit in one node.
  private static func mendChild(_ index: Int, of node: Node) {
    let child = node.children[index]
    if child.total == 0 {
      node.children.remove(at: index)
      if !node.keys.isEmpty { node.keys.remove(at: max(index - 1, 0)) }
      return
    }
    guard child.slots < nodeCapacity / 4, node.children.count > 1 else { return }
    let left = index > 0 ? index - 1 : index
    let merged = node.children[left].slots + node.children[left + 1].slots
    guard merged <= nodeCapacity * 3 / 4 else { return }
    node.makeChildUnique(left)
    let target = node.children[left]
    let source = node.children[left + 1]
    if target.isLeaf {
      target.keys.append(contentsOf: source.keys)
      target.values.append(contentsOf: source.values)
    } else {
      target.keys.append(node.keys[left])
      target.keys.append(contentsOf: source.keys)
      target.children.append(contentsOf: source.children)
    }
    target.total += source.total
    node.children.remove(at: left + 1)
    node.keys.remove(at: left)
  }

  private static func removeAll(before key: Key, below node: Node) {
    if node.isLeaf {
      let index = node.lowerBound(key)
      node.keys.removeSubrange(..<index)
      node.values.removeSubrange(..<index)
      node.total = node.keys.count
      return
    }
    let index = node.childIndex(for: key)
    node.keys.removeSubrange(..<index)
    node.children.removeSubrange(..<index)
    node.makeChildUnique(0)
    removeAll(before: key, below: node.children[0])
    if node.children[0].total == 0, node.children.count > 1 {
      node.children.removeFirst()
      node.keys.removeFirst()
    }
    node.total = node.children.reduce(0) { $0 + $1.total }
  }
}
