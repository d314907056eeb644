// Owns the reading of a file of bbolt's, such as etcd's store and its snapshots are: what its buckets hold, in order.
//
// Must never: trap on any bytes, follow a page twice on one way, read beyond what the file says of its own length, or go deeper than a
// real file can be. A page that contradicts itself is an error, not a guess.
//
// The format is BoltPage's. Pages may be of another size than those that we write: bbolt takes the machine's.

/// Where the bytes come from: `count` of them from `offset` on, or fewer at the end.
package typealias ByteSource = (_ offset: UInt64, _ count: Int) throws(BackupError) -> [UInt8]

package struct BoltReader {
  package struct Item {
    package let key: ArraySlice<UInt8>
    package let value: ArraySlice<UInt8>
  }

  private static let deepest = 32
  private static let longestName = 256

  private let source: ByteSource
  private let meta: Meta
  private var reached: Set<UInt64> = []

  package var pageBytes: Int { meta.pageBytes }

  private struct Meta {
    let pageBytes: Int
    let root: UInt64
    let pageCount: UInt64
    let transaction: UInt64
  }

  /// - Parameter length: of the file without any sum behind it.
  package init(length: UInt64, _ source: @escaping ByteSource) throws(BackupError) {
    self.source = source
    var found: Meta?
    // The second meta page is behind the first, whose size only a whole one tells.
    if let first = try Self.meta(at: 0, source) {
      found = first
      if let second = try Self.meta(at: UInt64(first.pageBytes), source), second.transaction > first.transaction,
        second.pageBytes == first.pageBytes
      {
        found = second
      }
    } else {
      for shift in 10...16 where found == nil {
        let second = try Self.meta(at: 1 << UInt64(shift), source)
        if let second, second.pageBytes == 1 << shift { found = second }
      }
    }
    guard let found else { throw .damaged("neither of its meta pages is whole") }
    guard found.pageCount >= 3, found.pageCount <= length / UInt64(found.pageBytes), found.root < found.pageCount else {
      throw .damaged("it says that it has \(found.pageCount) pages, and it has \(length) bytes")
    }
    meta = found
  }

  private static func meta(at offset: UInt64, _ source: ByteSource) throws(BackupError) -> Meta? {
    let page = try source(offset, BoltPage.headerBytes + BoltPage.metaBytes)
    guard page.count == BoltPage.headerBytes + BoltPage.metaBytes,
      page.number(at: 8, as: UInt16.self) & BoltPage.metaFlag != 0
    else { return nil }
    let meta = Array(page[BoltPage.headerBytes...])
    let summed = BoltPage.metaBytes - 8
    guard meta.number(at: 0, as: UInt32.self) == BoltPage.magic,
      meta.number(at: 4, as: UInt32.self) == BoltPage.version,
      meta.number(at: summed, as: UInt64.self) == BoltPage.fnv1a(Array(meta[..<summed]))
    else { return nil }
    let pageBytes = Int(meta.number(at: 8, as: UInt32.self))
    guard (512...65_536).contains(pageBytes), pageBytes & (pageBytes - 1) == 0 else { return nil }
    return Meta(
      pageBytes: pageBytes, root: meta.number(at: 16, as: UInt64.self),
      pageCount: meta.number(at: 40, as: UInt64.self), transaction: meta.number(at: 48, as: UInt64.self))
  }

  // MARK: Walking

  /// Where a bucket is: its root page, or its only page within its own value.
  package struct Bucket {
    package let name: [UInt8]
    fileprivate let root: UInt64
    fileprivate let inlinePage: [UInt8]?
  }

  package mutating func buckets() throws(BackupError) -> [Bucket] {
    var buckets: [Bucket] = []
    reached = []
    var order: [UInt8]?
    try walk(meta.root, depth: 0, after: &order) { (item, isBucket) throws(BackupError) in
      guard isBucket, item.key.count <= Self.longestName, item.value.count >= 16 else {
        throw .damaged("there is something else than buckets in its root")
      }
      let value = Array(item.value)
      let root = value.number(at: 0, as: UInt64.self)
      buckets.append(
        Bucket(name: Array(item.key), root: root, inlinePage: root == 0 ? Array(value[16...]) : nil))
    }
    return buckets
  }

  /// Visits the items of a bucket by ascending key.
  package mutating func forEach(in bucket: Bucket, _ body: (Item) throws(BackupError) -> Void) throws(BackupError) {
    reached = []
    var order: [UInt8]?
    func visit(_ item: Item, isBucket: Bool) throws(BackupError) {
      guard !isBucket else { throw BackupError.damaged("there is a bucket within a bucket") }
      try body(item)
    }
    if let page = bucket.inlinePage {
      let count = try Self.count(of: page, flags: BoltPage.leafFlag)
      return try Self.leaf(page, count, after: &order, visit)
    }
    try walk(bucket.root, depth: 0, after: &order, visit)
  }

  private mutating func walk(
    _ id: UInt64, depth: Int, after order: inout [UInt8]?, _ body: (Item, Bool) throws(BackupError) -> Void
  ) throws(BackupError) {
    guard depth < Self.deepest else { throw .damaged("its pages lie too deep") }
    let node = try node(id)
    if node.number(at: 8, as: UInt16.self) == BoltPage.leafFlag {
      let count = try Self.count(of: node, flags: BoltPage.leafFlag)
      return try Self.leaf(node, count, after: &order, body)
    }
    let count = try Self.count(of: node, flags: BoltPage.branchFlag)
    guard count > 0 else { throw .damaged("page \(id) is a branch of nothing") }
    for place in 0..<count {
      let element = BoltPage.headerBytes + place * BoltPage.elementBytes
      try walk(node.number(at: element + 8, as: UInt64.self), depth: depth + 1, after: &order, body)
    }
  }

  /// A page with those that belong to it, each of which is reached once.
  private mutating func node(_ id: UInt64) throws(BackupError) -> [UInt8] {
    guard id >= 2, id < meta.pageCount else { throw .damaged("page \(id) is not there") }
    let start = id * UInt64(meta.pageBytes)
    let header = try source(start, BoltPage.headerBytes)
    guard header.count == BoltPage.headerBytes, header.number(at: 0, as: UInt64.self) == id else {
      throw .damaged("page \(id) says that it is another")
    }
    let further = UInt64(header.number(at: 12, as: UInt32.self))
    guard further < meta.pageCount - id else { throw .damaged("page \(id) goes on behind the end") }
    for page in id...(id + further) {
      guard reached.insert(page).inserted else { throw .damaged("page \(page) is used twice") }
    }
    let bytes = Int(further + 1) * meta.pageBytes
    let node = try source(start, bytes)
    guard node.count == bytes else { throw .cutShort(bytes: start + UInt64(node.count)) }
    return node
  }

  private static func count(of node: [UInt8], flags: UInt16) throws(BackupError) -> Int {
    guard node.count >= BoltPage.headerBytes, node.number(at: 8, as: UInt16.self) == flags else {
      throw .damaged("a page is of another kind than it should be")
    }
    let count = Int(node.number(at: 10, as: UInt16.self))
    guard count <= (node.count - BoltPage.headerBytes) / BoltPage.elementBytes else {
      throw .damaged("a page says that it has \(count) items")
    }
    return count
  }

  private static func leaf(
    _ node: [UInt8], _ count: Int, after order: inout [UInt8]?, _ body: (Item, Bool) throws(BackupError) -> Void
  ) throws(BackupError) {
    for place in 0..<count {
      let element = BoltPage.headerBytes + place * BoltPage.elementBytes
      let flags = node.number(at: element, as: UInt32.self)
      let start = element + Int(node.number(at: element + 4, as: UInt32.self))
      let keyBytes = Int(node.number(at: element + 8, as: UInt32.self))
      let valueBytes = Int(node.number(at: element + 12, as: UInt32.self))
      // Sums of three numbers below 2^32 and a place in memory cannot overflow.
      guard flags <= 1, keyBytes > 0, start + keyBytes + valueBytes <= node.count else {
        throw .damaged("an item lies outside of its page")
      }
      let key = node[start..<(start + keyBytes)]
      if let order, !order.lexicographicallyPrecedes(key) { throw .damaged("its keys do not ascend") }
      order = Array(key)
      try body(
        Item(key: key, value: node[(start + keyBytes)..<(start + keyBytes + valueBytes)]), flags == BoltPage.bucketFlag)
    }
  }
}

extension [UInt8] {
  /// A little-endian number. The caller has seen to it that it is there.
  fileprivate func number<Number: FixedWidthInteger>(at offset: Int, as: Number.Type) -> Number {
    var number: Number = 0
    for place in (0..<(Number.bitWidth / 8)).reversed() {
      number = number << 8 | Number(truncatingIfNeeded: self[offset + place])
    }
    return number
  }
}
