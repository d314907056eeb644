// A file as bbolt, the store of etcd, has it: so that etcd's own tools take our backups, and etcd can be started from one.
//
// Layout, in pages of 4 KiB: two meta pages, an empty list of free pages, each bucket's leaves and then its branches, the
// leaf that names the buckets. A file is written once and from front to back; the first pages name the last one, so the
// whole is laid out before anything is written. Neither needs the content in memory.

package struct BoltBucket: Sendable {
  package typealias Item = (key: [UInt8], value: [UInt8])

  package let name: [UInt8]
  /// Begins at the first item each time that it is called. Keys ascend, and it gives the same items each time.
  package let items: @Sendable () -> () -> Item?

  package init(_ name: String, items: @escaping @Sendable () -> () -> Item?) {
    self.name = [UInt8](name.utf8)
    self.items = items
  }

  package init(_ name: String, _ items: [(key: [UInt8], value: [UInt8])] = []) {
    self.init(name) {
      var rest = items[...]
      return { rest.popFirst() }
    }
  }
}

package struct BoltFile: Sendable {
  /// A page, or several where what it holds is larger.
  struct Node: Sendable {
    var firstKey: [UInt8]
    /// Items of a leaf, or children of a branch.
    var count = 0
    var bytes = BoltPage.headerBytes
    var page: UInt64 = 0

    var pages: UInt64 { UInt64((bytes + BoltPage.pageBytes - 1) / BoltPage.pageBytes) }
  }

  struct Plan: Sendable {
    let bucket: BoltBucket
    var leaves: [Node] = []
    /// From the leaves' parents up to the root.
    var branches: [[Node]] = []
    /// 0 for a bucket without items, which lies within the root's leaf.
    var root: UInt64 = 0
  }

  static let freePage: UInt64 = 2
  let plans: [Plan]
  let rootPage: UInt64
  let pageCount: UInt64

  package var sizeBytes: Int { Int(pageCount) * BoltPage.pageBytes }

  /// Lays a file out. It reads every item once.
  /// - Parameter buckets: in the order of their names.
  package init(_ buckets: [BoltBucket]) {
    var next = Self.freePage + 1
    var plans: [Plan] = []
    for bucket in buckets {
      var plan = Plan(bucket: bucket)
      plan.leaves = Self.leaves(of: bucket)
      Self.place(&plan.leaves, from: &next)
      var level = plan.leaves
      while level.count > 1 {
        level = Self.parents(of: level)
        Self.place(&level, from: &next)
        plan.branches.append(level)
      }
      plan.root = level.first?.page ?? 0
      plans.append(plan)
    }
    self.plans = plans
    rootPage = next
    let root = plans.reduce(into: Node(firstKey: [])) { node, plan in
      node.bytes += BoltPage.elementBytes + plan.bucket.name.count + BoltPage.bucketValue(plan.root).count
    }
    pageCount = next + root.pages
  }

  private static func leaves(of bucket: BoltBucket) -> [Node] {
    var leaves: [Node] = []
    let next = bucket.items()
    while let item = next() {
      add(BoltPage.elementBytes + item.key.count + item.value.count, beginningWith: item.key, to: &leaves)
    }
    return leaves
  }

  private static func parents(of level: [Node]) -> [Node] {
    var parents: [Node] = []
    for node in level {
      add(BoltPage.elementBytes + node.firstKey.count, beginningWith: node.firstKey, to: &parents)
    }
    return parents
  }

  private static func add(_ bytes: Int, beginningWith key: [UInt8], to nodes: inout [Node]) {
    // A branch with one child would be no branch, so two fit whatever their size.
    let isFull = nodes.last.map { $0.count > 1 && $0.bytes + bytes > BoltPage.pageBytes } ?? true
    if isFull { nodes.append(Node(firstKey: key)) }
    nodes[nodes.count - 1].count += 1
    nodes[nodes.count - 1].bytes += bytes
  }

  private static func place(_ nodes: inout [Node], from next: inout UInt64) {
    for index in nodes.indices {
      nodes[index].page = next
      next += nodes[index].pages
    }
  }
}

/// Writes a file that was laid out, a few pages at a time.
package struct BoltWriter {
  private enum Step {
    case head
    case leaf(plan: Int, index: Int)
    case branch(plan: Int, level: Int, index: Int)
    case root
    case done
  }

  private let file: BoltFile
  private var step = Step.head
  private var items: (() -> BoltBucket.Item?)?

  package init(_ file: BoltFile) {
    self.file = file
  }

  /// The next whole pages; nil after the last.
  package mutating func next() -> [UInt8]? {
    while true {
      switch step {
      case .head:
        step = .leaf(plan: 0, index: 0)
        return BoltPage.meta(of: file, transaction: 0) + BoltPage.meta(of: file, transaction: 1)
          + BoltPage.empty(BoltFile.freePage, flags: BoltPage.freeListFlag)
      case .leaf(let plan, let index):
        guard plan < file.plans.count else { step = .root; continue }
        guard index < file.plans[plan].leaves.count else { step = .branch(plan: plan, level: 0, index: 0); continue }
        step = .leaf(plan: plan, index: index + 1)
        return leaf(file.plans[plan], index)
      case .branch(let plan, let level, let index):
        let branches = file.plans[plan].branches
        guard level < branches.count else { step = .leaf(plan: plan + 1, index: 0); continue }
        guard index < branches[level].count else {
          step = .branch(plan: plan, level: level + 1, index: 0)
          continue
        }
        step = .branch(plan: plan, level: level, index: index + 1)
        return branch(file.plans[plan], level, index)
      case .root:
        step = .done
        let items = file.plans.map { ($0.bucket.name, BoltPage.bucketValue($0.root)) }
        return BoltPage.leaf(file.rootPage, items, flags: BoltPage.bucketFlag)
      case .done: return nil
      }
    }
  }

  private mutating func leaf(_ plan: BoltFile.Plan, _ index: Int) -> [UInt8] {
    if index == 0 { items = plan.bucket.items() }
    var found: [BoltBucket.Item] = []
    for _ in 0..<plan.leaves[index].count {
      guard let item = items?() else { preconditionFailure("a bucket gave fewer items than it was laid out for") }
      found.append(item)
    }
    return BoltPage.leaf(plan.leaves[index].page, found, flags: 0)
  }

  private func branch(_ plan: BoltFile.Plan, _ level: Int, _ index: Int) -> [UInt8] {
    let below = level == 0 ? plan.leaves : plan.branches[level - 1]
    let first = plan.branches[level].prefix(index).reduce(0) { $0 + $1.count }
    let node = plan.branches[level][index]
    return BoltPage.branch(node.page, below[first..<(first + node.count)].map { ($0.firstKey, $0.page) })
  }
}
