// Owns the three numbers that Raft is made of: term, index and node identity.
// Must never: convert one of them into another, or into a plain integer without saying so.
// Invariant: `Index(0)` is the place before the first entry and `Term(0)` the term before the first election.

/// A period of at most one leader (Raft paper, section 5.1).
package struct Term: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  package var next: Term { Term(rawValue + 1) }
  package var description: String { "term \(rawValue)" }

  package static func < (left: Term, right: Term) -> Bool { left.rawValue < right.rawValue }
}

/// A place in the log. The first entry of a cluster has index 1.
package struct Index: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  package static let beforeFirst = Index(0)

  package var next: Index { Index(rawValue + 1) }

  /// The index before this one. Nothing comes before `beforeFirst`, so asking there is a mistake of the caller.
  package var previous: Index {
    precondition(rawValue > 0, "there is no index before 0")
    return Index(rawValue - 1)
  }

  package var description: String { "index \(rawValue)" }

  package func advanced(by count: Int) -> Index { Index(rawValue + UInt64(count)) }

  /// How many places lie between an earlier index and this one.
  package func distance(from earlier: Index) -> Int {
    precondition(earlier <= self, "\(earlier) is not before \(self)")
    return Int(rawValue - earlier.rawValue)
  }

  package static func < (left: Index, right: Index) -> Bool { left.rawValue < right.rawValue }
}

/// The identity of a member of the cluster. It is never given to another node, not even after its disk was wiped.
package struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  package var description: String { "node \(rawValue)" }

  package static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
}
