// The bounds of the engine, in one place.

package struct EngineLimits: Sendable {
  /// Requests in one commit. A larger group delays its first member for the gain of its last.
  package var groupedRequests = 256
  /// Writes that may wait; beyond it they are refused, so that memory and waiting time stay bounded.
  package var queuedRequests = 4096
  package var statementsPerRequest = 1024
  package var sqlBytes = 1 << 20
  /// Rows and values of one request's answer, roughly in bytes.
  package var resultBytes = 16 << 20
  package var writeSeconds = 10.0
  package var readSeconds = 30.0
  /// How long SQLite waits for a lock that some other process holds.
  package var busyMilliseconds: Int32 = 5000
  package var readers = 4
  /// WAL frames from which the writer checkpoints after a commit.
  package var checkpointFrames: Int32 = 1000
  /// WAL frames from which it also waits briefly for readers, so that the file can start over.
  package var truncateFrames: Int32 = 16_000
  package var cachedStatements = 128

  package init() {}
}

/// One database that the gateway serves.
package struct DatabaseDeclaration: Sendable, Hashable {
  package let name: String
  package let path: String
  package let scope: String
  /// An open database takes writes without a token; a token that is presented is still checked.
  package let isOpen: Bool
  /// Foreign keys are off unless asked for, as in SQLite: protection must not change what a file's SQL means.
  package let enforcesForeignKeys: Bool
  /// The cluster that may take the place of the pinned one, by an operator's decision.
  package let adoptedCluster: UInt64?

  package init(
    name: String, path: String, scope: String? = nil, isOpen: Bool = false, enforcesForeignKeys: Bool = false,
    adoptedCluster: UInt64? = nil
  ) {
    self.name = name
    self.path = path
    self.scope = scope ?? name
    self.isOpen = isOpen
    self.enforcesForeignKeys = enforcesForeignKeys
    self.adoptedCluster = adoptedCluster
  }
}
