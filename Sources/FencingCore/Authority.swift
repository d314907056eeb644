// The order of authority: what a grant's number is, and what stands above it.
//
// Must never hold anything but plain comparable values: the simulator, the gateway and the client share them.
// Invariants: a `GrantNumber` is in 1...Int64.max, an `Incarnation` in 0...Int64.max, because both are kept in
// SQLite's signed 64-bit integers and in JSON, and a value that wraps there would sort below every floor.

/// The number of a grant: the store revision at which the grant was applied.
package struct GrantNumber: Sendable, Hashable, Comparable, CustomStringConvertible {
  package let rawValue: Int64

  /// Answers `nil` for zero and below: no revision at which a grant was applied can be that low.
  package init?(_ rawValue: Int64) {
    guard rawValue > 0 else { return nil }
    self.rawValue = rawValue
  }

  private init(checked rawValue: Int64) { self.rawValue = rawValue }

  package static let lowest = GrantNumber(checked: 1)
  package static let highest = GrantNumber(checked: .max)

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  package var description: String { String(rawValue) }
}

/// The incarnation of a cluster: raised by a restore and by forcing a new cluster, never lowered.
package struct Incarnation: Sendable, Hashable, Comparable, CustomStringConvertible {
  package let rawValue: Int64

  /// Answers `nil` for a negative value.
  package init?(_ rawValue: Int64) {
    guard rawValue >= 0 else { return nil }
    self.rawValue = rawValue
  }

  /// Answers `nil` above `Int64.max`, which neither SQLite nor the admission rules could compare.
  package init?(_ rawValue: UInt64) {
    guard let signed = Int64(exactly: rawValue) else { return nil }
    self.rawValue = signed
  }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  package var description: String { String(rawValue) }
}

/// A grant's place in the order: incarnation first, so that a restored cluster, whose revisions start lower,
/// still outranks every grant of the cluster that it replaces.
package struct Authority: Sendable, Hashable, Comparable, CustomStringConvertible {
  package let incarnation: Incarnation
  package let number: GrantNumber

  package init(incarnation: Incarnation, number: GrantNumber) {
    self.incarnation = incarnation
    self.number = number
  }

  package static func < (left: Self, right: Self) -> Bool {
    if left.incarnation != right.incarnation { return left.incarnation < right.incarnation }
    return left.number < right.number
  }

  package var description: String { "incarnation \(incarnation), number \(number)" }
}
