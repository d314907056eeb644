// Owns the two ways through a whole `OrderedTree` that snapshots need: building one from sorted entries without a
// search for each, and walking one a step at a time.
// Must never: change a node that a tree already holds. A cursor keeps the root that it began with, and whoever changes
// the tree meanwhile copies the nodes on its path, because they are shared; so a cursor sees one instant.

extension OrderedTree {
  /// Makes a tree from entries in ascending order.
  struct Builder {
    /// Nodes are left with room, or the first insertion into each would split it.
    private static var fill: Int { nodeCapacity * 3 / 4 }

    private var leaves: ContiguousArray<Node> = []
    private var keys: ContiguousArray<Key> = []
    private var values: ContiguousArray<Value> = []

    init() {}

    /// The key that was appended last.
    var lastKey: Key? { keys.last ?? leaves.last?.keys.last }

    mutating func append(_ key: Key, _ value: Value) {
      if let lastKey { precondition(lastKey < key, "a tree is built from keys that ascend") }
      if keys.count == Self.fill { closeLeaf() }
      keys.append(key)
      values.append(value)
    }

    private mutating func closeLeaf() {
      guard !keys.isEmpty else { return }
      leaves.append(Node(keys: keys, values: values))
      keys = []
      values = []
      keys.reserveCapacity(Self.fill)
      values.reserveCapacity(Self.fill)
    }

    consuming func finish() -> OrderedTree {
      closeLeaf()
      var level = leaves.map { (first: $0.keys[0], node: $0) }
      while level.count > 1 {
        let groups = (level.count + Self.fill - 1) / Self.fill
        var above: [(first: Key, node: Node)] = []
        above.reserveCapacity(groups)
        for group in 0..<groups {
          let members = level[(level.count * group / groups)..<(level.count * (group + 1) / groups)]
          guard let first = members.first else { continue }
          let node = Node(
            separators: ContiguousArray(members.dropFirst().map(\.first)),
            children: ContiguousArray(members.map(\.node)))
          above.append((first.first, node))
        }
        level = above
      }
      return OrderedTree(root: level.first?.node)
    }
  }

  /// - Parameter sorted: entries in strictly ascending order of their keys.
  init(sorted: some Sequence<(Key, Value)>) {
    var builder = Builder()
    for (key, value) in sorted { builder.append(key, value) }
    self = builder.finish()
  }

  /// Walks the entries in ascending order, whenever somebody asks for the next.
  struct Cursor: Sendable {
    /// Inner nodes from the root down, each with its next child to visit.
    private var path: ContiguousArray<(node: Node, next: Int)> = []
    private var leaf: Node?
    private var position = 0

    init(_ tree: OrderedTree) {
      if let root = tree.root { descend(from: root) }
    }

    mutating func next() -> (key: Key, value: Value)? {
      while let current = leaf {
        if position < current.keys.count {
          defer { position += 1 }
          return (current.keys[position], current.values[position])
        }
        leaf = nil
        climb()
      }
      return nil
    }

    private mutating func climb() {
      while let (node, next) = path.last {
        if next < node.children.count {
          path[path.count - 1].next += 1
          return descend(from: node.children[next])
        }
        path.removeLast()
      }
    }

    private mutating func descend(from top: Node) {
      var node = top
      while !node.isLeaf {
        path.append((node, 1))
        node = node.children[0]
      }
      leaf = node
      position = 0
    }
  }
}
