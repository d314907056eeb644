// What a gateway in the same process asks the node: who holds a scope, read linearizably.

import CoordinationCore

/// A scope at one revision.
package struct ScopeRecord: Sendable {
  package let incarnation: UInt64
  /// The current grant's; nil when nobody holds the scope.
  package let current: (number: Int64, holder: String)?
  /// The highest number ever granted; 0 for none.
  package let lastNumber: Int64
}

extension CoreNode {
  /// - Throws: `NodeError` where the node cannot read linearizably now.
  package func describe(scope: String) async throws -> ScopeRecord {
    guard case .success(let snapshot) = await linearizableSnapshot() else {
      throw NodeError.network("the node cannot read linearizably at the moment")
    }
    let state = snapshot.state.scopes[Key(Bytes(scope.utf8))]
    return ScopeRecord(
      incarnation: incarnation, current: state?.holder.map { ($0.number, $0.holder) },
      lastNumber: state?.lastNumber ?? 0)
  }
}
