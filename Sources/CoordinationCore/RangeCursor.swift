// Owns the way through a range of any size at one revision, a page at a time: what a streaming list is made of.
//
// Must never: hold more than the page that it makes, beside the roots of the store that it was given; or see another
// revision than the one that it began with, whatever is written and compacted meanwhile.

package struct RangeCursor: Sendable {
  private let store: KeyStore
  private let query: RangeQuery
  private let end: Key?
  /// Where the next page begins; nil behind the last one.
  private var position: Key?
  /// That is listed.
  package let revision: Revision

  /// - Parameter query: its range, revision and bounds on revisions count; keys come in ascending order and all of them.
  /// - Throws: `compacted` or `futureRevision`, as a read at that revision does.
  package init(_ store: KeyStore, _ query: RangeQuery) throws(RequestError) {
    try store.check(readAt: query.revision)
    self.store = store
    self.query = query
    revision = query.revision > 0 ? query.revision : store.revision
    end = query.range.exclusiveEnd
    position = query.range.isEmpty ? nil : query.range.start
  }

  /// The next page: as many versions as take `maxBytes`, and one at least where there is one; nil behind the last page. A
  /// page may be empty, when `maxVisited` keys were looked at and the bounds admitted none of them.
  package mutating func next(maxBytes: Int, maxVisited: Int) -> [KeyVersion]? {
    precondition(maxBytes > 0 && maxVisited > 0, "a page that may hold nothing gets nobody on")
    guard let start = position else { return nil }
    var page = Page(query: query, maxBytes: maxBytes, maxVisited: maxVisited)
    if revision == store.revision {
      store.live.forEach(from: start, before: end) { key, version in page.take(key, version) }
    } else {
      var next: Key? = start
      while let from = next, let key = store.firstKey(atOrAfter: from, before: end) {
        guard page.take(key, store.version(of: key, at: revision)) else { break }
        next = key.successor
      }
    }
    position = page.resumeAt
    return page.found
  }

  private struct Page {
    let query: RangeQuery
    let maxBytes: Int
    let maxVisited: Int
    var found: [KeyVersion] = []
    var bytes = 0
    var visited = 0
    var resumeAt: Key?

    /// - Returns: false when the page is full; the key is the next page's then.
    mutating func take(_ key: Key, _ version: KeyVersion?) -> Bool {
      let admitted = version.flatMap { query.admits($0) ? $0 : nil }
      let size = admitted.map { $0.key.bytes.count + (query.keysOnly ? 0 : $0.value.count) + 64 } ?? 0
      guard visited < maxVisited, found.isEmpty || bytes + size <= maxBytes else {
        resumeAt = key
        return false
      }
      visited += 1
      bytes += size
      if let admitted { found.append(admitted) }
      return true
    }
  }
}
