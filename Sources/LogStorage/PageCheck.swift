// Owns a look at LMDB's own structure around a record: that the page it lies in adds up.
//
// LMDB checks almost nothing of what it reads. A wrong length in a node would have the checksum read far outside the
// file, which ends the process; worse, to remove such a record LMDB moves and frees as many bytes and pages as the
// length says, and what it frees wrongly it writes over later. So a record is only looked at, and can only be removed,
// where its page adds up.
//
// Layout (LMDB 0.9): a page starts with its number 8, padding 2, flags 2, then lower 2 and upper 2 in a leaf, or the
// count of pages 4 in a run of overflow pages. A leaf has the offsets of its nodes from 16 to `lower`, and the nodes
// themselves, packed, from `upper` to the end. A node: length of the value 4 (the low half first), flags 2, length of
// the key 2, key, then the value or the number of the page that it starts on.

struct PageCheck {
  private static let headerBytes = 16
  private static let nodeHeaderBytes = 8
  private static let keyBytes = 8
  private static let leafFlag: UInt16 = 0x02
  private static let overflowFlag: UInt16 = 0x04
  /// Set in pages that a write transaction has changed.
  private static let dirtyFlags: UInt16 = 0x4010
  private static let bigFlag: UInt16 = 0x01

  let pageBytes: Int
  /// The leaf that was found to add up last. Records come in order, so that each is looked at once.
  private var soundLeaf: UnsafeRawPointer?

  init(pageBytes: Int) {
    self.pageBytes = pageBytes
  }

  /// Why the page of a value does not add up, or nil when it does.
  mutating func flaw(around value: UnsafeRawBufferPointer) -> String? {
    guard let start = value.baseAddress else { return "a value is nowhere" }
    let offset = Int(UInt(bitPattern: start) % UInt(pageBytes))
    let page = UnsafeRawBufferPointer(start: start - offset, count: pageBytes)
    if offset == Self.headerBytes { return overflowFlaw(page, valueBytes: value.count) }
    guard offset + value.count <= pageBytes else { return "a value goes beyond its page" }
    if soundLeaf == page.baseAddress { return nil }
    let flaw = leafFlaw(page)
    if flaw == nil { soundLeaf = page.baseAddress }
    return flaw
  }

  private func overflowFlaw(_ page: UnsafeRawBufferPointer, valueBytes: Int) -> String? {
    let flags: UInt16 = page.integer(at: 10)
    let pages: UInt32 = page.integer(at: 12)
    let expected = (Self.headerBytes + valueBytes + pageBytes - 1) / pageBytes
    guard flags & ~Self.dirtyFlags == Self.overflowFlag, Int(pages) == expected else {
      return "a value's pages are not those that its length needs"
    }
    return nil
  }

  private func leafFlaw(_ page: UnsafeRawBufferPointer) -> String? {
    let flags: UInt16 = page.integer(at: 10)
    let lower = Int(page.integer(at: 12) as UInt16)
    let upper = Int(page.integer(at: 14) as UInt16)
    guard flags & ~Self.dirtyFlags == Self.leafFlag, lower >= Self.headerBytes, lower <= upper, upper <= pageBytes
    else { return "a page is no leaf" }
    var bytes = 0
    var lastKey: UInt64?
    for place in stride(from: Self.headerBytes, to: lower, by: 2) {
      let node = Int(page.integer(at: place) as UInt16)
      guard node >= upper, node + Self.nodeHeaderBytes + Self.keyBytes <= pageBytes else {
        return "a node is outside its page"
      }
      let valueBytes = Int(page.integer(at: node) as UInt16) | Int(page.integer(at: node + 2) as UInt16) << 16
      let nodeFlags: UInt16 = page.integer(at: node + 4)
      guard page.integer(at: node + 6) == UInt16(Self.keyBytes), nodeFlags & ~Self.bigFlag == 0 else {
        return "a node is not one of this tree"
      }
      let key: UInt64 = page.integer(at: node + Self.nodeHeaderBytes)
      guard lastKey.map({ $0 < key }) ?? true else { return "the keys of a page do not rise" }
      lastKey = key
      let inPage = nodeFlags == 0 ? valueBytes : 8
      bytes += (Self.nodeHeaderBytes + Self.keyBytes + inPage + 1) & ~1
    }
    return bytes == pageBytes - upper ? nil : "the nodes of a page do not fill it"
  }
}
