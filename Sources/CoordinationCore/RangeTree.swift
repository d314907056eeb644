// Ranges of keys and whose they are, for one question: which of them hold a key. The answer takes time with the logarithm of
// the ranges there are and with those that are found, however many others there are.
//
// A treap: ordered by where ranges start, balanced by priorities that are drawn from the ids, and each node knows how far
// the ranges below it reach. Ids are given out by this program, so nobody outside chooses a priority.

struct RangeTree: Sendable {
  private struct Node: Sendable {
    let id: WatcherID
    let range: KeyRange
    let priority: UInt64
    var left = none
    var right = none
    /// No range of this subtree has a key at or behind this one; nil where one has no end.
    var reach: Key?

    init(_ id: WatcherID, _ range: KeyRange) {
      self.id = id
      self.range = range
      self.priority = Self.mixed(id.value)
      self.reach = range.exclusiveEnd
    }

    /// SplitMix64's finalizer: ids that follow each other get priorities that do not.
    private static func mixed(_ value: UInt64) -> UInt64 {
      var bits = value &+ 0x9E37_79B9_7F4A_7C15
      bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
      bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
      return bits ^ (bits >> 31)
    }
  }

  private static let none = -1

  private var nodes: [Node?] = []
  private var unused: [Int] = []
  private var root = none

  var isEmpty: Bool { root == Self.none }

  /// An id must not be inserted again before it was removed.
  mutating func insert(_ id: WatcherID, range: KeyRange) {
    let place: Int
    if let last = unused.popLast() {
      place = last
      nodes[place] = Node(id, range)
    } else {
      place = nodes.count
      nodes.append(Node(id, range))
    }
    root = inserting(place, into: root)
  }

  /// Nothing happens when the id is not there under this range.
  mutating func remove(_ id: WatcherID, range: KeyRange) {
    root = removing(id, startingAt: range.start, from: root)
  }

  /// Calls `body` with whoever's range holds `key`, in the order of where the ranges start.
  func forEach(holding key: Key, _ body: (WatcherID) -> Void) { visit(root, key, body) }

  private func visit(_ place: Int, _ key: Key, _ body: (WatcherID) -> Void) {
    guard let node = node(place) else { return }
    if let reach = node.reach, !(key < reach) { return }
    visit(node.left, key, body)
    // Everything to the right starts no earlier than this one.
    guard !(key < node.range.start) else { return }
    if node.range.contains(key) { body(node.id) }
    visit(node.right, key, body)
  }

  // MARK: Shape

  private func node(_ place: Int) -> Node? { place == Self.none ? nil : nodes[place] }

  private static func precedes(_ left: (start: Key, id: WatcherID), _ right: (start: Key, id: WatcherID)) -> Bool {
    left.start == right.start ? left.id < right.id : left.start < right.start
  }

  private func position(_ node: Node) -> (start: Key, id: WatcherID) { (node.range.start, node.id) }

  private mutating func inserting(_ place: Int, into tree: Int) -> Int {
    guard let new = node(place), let old = node(tree) else { return place }
    if new.priority > old.priority {
      let (left, right) = split(tree, at: position(new))
      return joined(place, left: left, right: right)
    }
    if Self.precedes(position(new), position(old)) {
      return joined(tree, left: inserting(place, into: old.left), right: old.right)
    }
    return joined(tree, left: old.left, right: inserting(place, into: old.right))
  }

  private mutating func removing(_ id: WatcherID, startingAt start: Key, from tree: Int) -> Int {
    guard let old = node(tree) else { return tree }
    if old.id == id, old.range.start == start {
      nodes[tree] = nil
      unused.append(tree)
      return merged(old.left, old.right)
    }
    if Self.precedes((start, id), position(old)) {
      return joined(tree, left: removing(id, startingAt: start, from: old.left), right: old.right)
    }
    return joined(tree, left: old.left, right: removing(id, startingAt: start, from: old.right))
  }

  /// What lies before a position, and the rest.
  private mutating func split(_ tree: Int, at position: (start: Key, id: WatcherID)) -> (Int, Int) {
    guard let old = node(tree) else { return (Self.none, Self.none) }
    if Self.precedes(self.position(old), position) {
      let (left, right) = split(old.right, at: position)
      return (joined(tree, left: old.left, right: left), right)
    }
    let (left, right) = split(old.left, at: position)
    return (left, joined(tree, left: right, right: old.right))
  }

  /// One tree of two, of which the first lies wholly before the second.
  private mutating func merged(_ left: Int, _ right: Int) -> Int {
    guard let first = node(left) else { return right }
    guard let second = node(right) else { return left }
    if first.priority > second.priority {
      return joined(left, left: first.left, right: merged(first.right, right))
    }
    return joined(right, left: merged(left, second.left), right: second.right)
  }

  /// Gives a node its subtrees, and the reach that comes of them.
  private mutating func joined(_ place: Int, left: Int, right: Int) -> Int {
    guard var node = nodes[place] else { preconditionFailure("a node of the tree is in its table") }
    node.left = left
    node.right = right
    node.reach = node.range.exclusiveEnd
    for child in [self.node(left), self.node(right)] {
      guard let child, let reach = node.reach else { continue }
      node.reach = child.reach.map { max($0, reach) }
    }
    nodes[place] = node
    return place
  }
}
