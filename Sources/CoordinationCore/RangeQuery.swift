// Reading keys: what etcd's Range can ask for, and the answer.

package struct RangeQuery: Sendable {
  package enum SortTarget: UInt8, Sendable { case key, version, createRevision, modRevision, value }
  package enum SortOrder: UInt8, Sendable { case none, ascending, descending }

  package var range: KeyRange
  /// The most keys to return; 0 for all.
  package var limit: Int64 = 0
  /// The revision to read at; 0 for the newest.
  package var revision: Revision = 0
  package var order: SortOrder = .none
  package var target: SortTarget = .key
  package var keysOnly = false
  package var countOnly = false
  /// Bounds on revisions, both inclusive; 0 for none.
  package var minModRevision: Revision = 0
  package var maxModRevision: Revision = 0
  package var minCreateRevision: Revision = 0
  package var maxCreateRevision: Revision = 0

  package init(range: KeyRange) {
    self.range = range
  }

  var filters: Bool {
    minModRevision != 0 || maxModRevision != 0 || minCreateRevision != 0 || maxCreateRevision != 0
  }

  /// etcd sorts in ascending order when a target other than the key is named without an order.
  var effectiveOrder: SortOrder { order == .none && target != .key ? .ascending : order }

  /// Whether keys come out of the store in the order asked for, so that a limit may stop the search.
  var inStoreOrder: Bool { target == .key && effectiveOrder != .descending }

  func admits(_ version: KeyVersion) -> Bool {
    (minModRevision == 0 || version.modRevision >= minModRevision)
      && (maxModRevision == 0 || version.modRevision <= maxModRevision)
      && (minCreateRevision == 0 || version.createRevision >= minCreateRevision)
      && (maxCreateRevision == 0 || version.createRevision <= maxCreateRevision)
  }

  /// Filters, sorts and limits, in etcd's order: the limit comes last, and `more` speaks of it alone.
  func select(from versions: [KeyVersion]) -> (versions: [KeyVersion], more: Bool) {
    var chosen = filters ? versions.filter(admits) : versions
    switch effectiveOrder {
    case .none: break
    case .ascending: if target != .key { sort(&chosen, ascending: true) }
    case .descending: if target == .key { chosen.reverse() } else { sort(&chosen, ascending: false) }
    }
    guard limit > 0, chosen.count > limit else { return (chosen, false) }
    return (Array(chosen.prefix(Int(limit))), true)
  }

  private func sort(_ versions: inout [KeyVersion], ascending: Bool) {
    func precedes(_ a: KeyVersion, _ b: KeyVersion) -> Bool {
      switch target {
      case .key: a.key < b.key
      case .version: a.version < b.version
      case .createRevision: a.createRevision < b.createRevision
      case .modRevision: a.modRevision < b.modRevision
      case .value: Key(a.value) < Key(b.value)
      }
    }
    versions.sort { ascending ? precedes($0, $1) : precedes($1, $0) }
  }
}

package struct RangeResult: Sendable {
  /// What was found, within the limit; values are there even for `keysOnly`, which the answer's encoder heeds.
  package let versions: [KeyVersion]
  /// How many keys the range holds, whatever the limit and the filters.
  package let count: Int64
  package let more: Bool
}
