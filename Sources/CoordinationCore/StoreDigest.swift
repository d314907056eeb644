// Owns the number by which nodes, and operators, find out that two stores are not the same.
// Must never: depend on what came after the revision asked for, nor on where a node keeps a version: a version that is
// live on one node is superseded on another that is further on.

extension KeyStore {
  /// A sum over every version and tombstone that is kept of the revisions up to `revision`. Nodes that have applied it and
  /// compacted at the same revision have the same sum. It takes time in proportion to the store.
  /// - Throws: `compacted` or `futureRevision`, as a read at that revision does.
  package func digest(through revision: Revision) throws(RequestError) -> UInt64 {
    try check(readAt: revision)
    let last = revision == 0 ? self.revision : revision
    // Added up, so that the order in which they are met does not matter.
    // An empty store has a sum too: tools take 0 for none.
    var sum = StableHash().value
    func add(_ version: KeyVersion) -> Bool {
      if version.modRevision <= last { sum &+= version.digest }
      return true
    }
    live.forEach { _, version in add(version) }
    superseded.forEach { _, version in add(version) }
    return sum
  }
}

extension KeyVersion {
  fileprivate var digest: UInt64 {
    var hash = StableHash()
    hash.combine(key.bytes)
    hash.combine([0])
    hash.combine(value)
    for number in [createRevision, modRevision, version, lease, Int64(key.bytes.count)] {
      hash.combine(withUnsafeBytes(of: number.littleEndian) { Array($0) })
    }
    return hash.value
  }
}
