// Owns what a disk has lost of its log, and when that is over.
// Must never: forget a loss before a log that agrees with a leader's has outgrown it.
// Invariants: there is at least one loss; of two, the one that was found in the later term reaches less far, since one
// that reaches as far ends no earlier than the other.

/// Entries that could not be read. This node may have acknowledged them, so it neither votes nor stands until its log is
/// whole again (Alagappan et al., "Protocol-Aware Recovery", section 3).
package struct Loss: Sendable, Equatable {
  /// The first entry that could not be read. The log was restored up to the one before.
  package var first: Index
  /// The newest entry that the log may have had.
  package var last: Index
  /// The stored term when the loss was found: entries of later terms were not acknowledged before it.
  package var term: Term

  package init(first: Index, last: Index, term: Term) {
    self.first = first
    self.last = last
    self.term = term
  }

  /// Either the log reaches as far again as it may have reached, or it holds an entry of a term that began after the
  /// loss: that term's leader had every entry committed until then, and this log agrees with its log.
  func isOutgrown(by whole: Index, term: Term?) -> Bool {
    whole >= last || (term.map { $0 > self.term } ?? false)
  }

  /// Whether this one is over whenever `other` is.
  fileprivate func endsWith(_ other: Loss) -> Bool { last <= other.last && term <= other.term }
}

/// Everything that a disk has lost and that was not got back.
package struct Damage: Sendable, Equatable {
  /// More are joined: a list that grows with every start of a failing disk would have no end.
  package static let mostLosses = 16

  package private(set) var losses: [Loss]

  package init(_ loss: Loss) { losses = [loss] }

  /// - Parameter losses: as they were found. nil when there are none.
  package init?(_ losses: some Sequence<Loss>) {
    self.losses = []
    for loss in losses { add(loss) }
    if self.losses.isEmpty { return nil }
  }

  package var firstLost: Index { losses.map(\.first).min() ?? .beforeFirst }
  package var lastLost: Index { losses.map(\.last).max() ?? .beforeFirst }

  /// Takes note of what was lost after all the others.
  package mutating func add(_ loss: Loss) {
    if let wider = losses.firstIndex(where: { loss.endsWith($0) }) {
      losses[wider].first = min(losses[wider].first, loss.first)
      return
    }
    var loss = loss
    for known in losses where known.endsWith(loss) { loss.first = min(loss.first, known.first) }
    losses.removeAll { $0.endsWith(loss) }
    losses.append(loss)
    guard losses.count > Self.mostLosses else { return }
    let (oldest, next) = (losses.removeFirst(), losses.removeFirst())
    losses.insert(
      Loss(
        first: min(oldest.first, next.first), last: max(oldest.last, next.last), term: max(oldest.term, next.term)),
      at: 0)
  }

  /// What is left when the log through `whole`, where it has an entry of `term`, is durable and agrees with a leader's.
  func outgrown(by whole: Index, term: Term?) -> Damage? {
    Damage(losses.filter { !$0.isOutgrown(by: whole, term: term) })
  }
}
