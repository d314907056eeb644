// The bytes of bbolt's pages, format 2, little-endian. A page: id u64 · flags u16 · count u16 · further pages u32, then an
// element for each item, then the items. An element's position counts from its own first byte.

enum BoltPage {
  static let pageBytes = 4096
  static let headerBytes = 16
  static let elementBytes = 16
  static let branchFlag: UInt16 = 0x01
  static let leafFlag: UInt16 = 0x02
  static let metaFlag: UInt16 = 0x04
  static let freeListFlag: UInt16 = 0x10
  /// An element whose value is a bucket.
  static let bucketFlag: UInt32 = 0x01

  static let magic: UInt32 = 0xED0C_DAED
  static let version: UInt32 = 2
  static let metaBytes = 64

  /// magic · version · size of a page · flags · root and sequence of the root bucket · list of free pages · pages ·
  /// transaction · FNV-1a of all that
  static func meta(of file: BoltFile, transaction: UInt64) -> [UInt8] {
    var meta: [UInt8] = []
    for number in [magic, version, UInt32(pageBytes), 0] { meta.append(number) }
    for number in [file.rootPage, 0, BoltFile.freePage, file.pageCount, transaction] { meta.append(number) }
    meta.append(fnv1a(meta))
    // The two take turns by the number of the transaction.
    return padded(header(transaction, flags: metaFlag, count: 0, bytes: headerBytes + meta.count) + meta)
  }

  static func empty(_ id: UInt64, flags: UInt16) -> [UInt8] {
    padded(header(id, flags: flags, count: 0, bytes: headerBytes))
  }

  static func leaf(_ id: UInt64, _ items: [BoltBucket.Item], flags: UInt32) -> [UInt8] {
    let bytes = items.reduce(headerBytes) { $0 + elementBytes + $1.key.count + $1.value.count }
    var page = header(id, flags: leafFlag, count: items.count, bytes: bytes)
    page.reserveCapacity(bytes)
    var position = headerBytes + elementBytes * items.count
    for (index, item) in items.enumerated() {
      page.append(flags)
      page.append(UInt32(position - headerBytes - elementBytes * index))
      page.append(UInt32(item.key.count))
      page.append(UInt32(item.value.count))
      position += item.key.count + item.value.count
    }
    for item in items {
      page += item.key
      page += item.value
    }
    return padded(page)
  }

  static func branch(_ id: UInt64, _ children: [(key: [UInt8], page: UInt64)]) -> [UInt8] {
    let bytes = children.reduce(headerBytes) { $0 + elementBytes + $1.key.count }
    var page = header(id, flags: branchFlag, count: children.count, bytes: bytes)
    var position = headerBytes + elementBytes * children.count
    for (index, child) in children.enumerated() {
      page.append(UInt32(position - headerBytes - elementBytes * index))
      page.append(UInt32(child.key.count))
      page.append(child.page)
      position += child.key.count
    }
    for child in children { page += child.key }
    return padded(page)
  }

  /// Where a bucket's root is, and its sequence. One without items has its root within its value.
  static func bucketValue(_ root: UInt64) -> [UInt8] {
    var value: [UInt8] = []
    value.append(root)
    value.append(0 as UInt64)
    if root == 0 { value += header(0, flags: leafFlag, count: 0, bytes: headerBytes) }
    return value
  }

  private static func header(_ id: UInt64, flags: UInt16, count: Int, bytes: Int) -> [UInt8] {
    var header: [UInt8] = []
    header.append(id)
    header.append(flags)
    header.append(UInt16(count))
    header.append(UInt32((bytes + pageBytes - 1) / pageBytes - 1))
    return header
  }

  private static func padded(_ page: [UInt8]) -> [UInt8] {
    page + [UInt8](repeating: 0, count: (pageBytes - page.count % pageBytes) % pageBytes)
  }

  static func fnv1a(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }
}

extension [UInt8] {
  fileprivate mutating func append(_ number: some FixedWidthInteger) {
    var rest = number
    for _ in 0..<(number.bitWidth / 8) {
      append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }
}
