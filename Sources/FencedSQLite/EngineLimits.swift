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
  package var resultRows = 1_000_000
  package var writeSeconds = 10.0
  package var readSeconds = 30.0
  /// How long a read may run whose rows are sent as they come. It holds its snapshot, so the log grows meanwhile.
  package var streamSeconds = 300.0
  /// How long SQLite waits for a lock that some other process holds.
  package var busyMilliseconds: Int32 = 5000
  package var readers = 4
  /// WAL frames from which the writer checkpoints after a commit.
  package var checkpointFrames: Int32 = 1000
  /// WAL frames from which it also waits briefly for readers, so that the file can start over.
  package var truncateFrames: Int32 = 16_000
  package var cachedStatements = 128
  /// How long the answer to a request with an idempotency key is kept, and how much of such answers in all.
  package var keptAnswerSeconds: Int64 = 24 * 3600
  package var keptAnswers: Int64 = 100_000
  package var keptAnswerBytes: Int64 = 64 << 20
  /// How long, and how many, keys are remembered after their answers went, so that a late repetition is an error.
  package var rememberedKeySeconds: Int64 = 30 * 24 * 3600
  package var rememberedKeys: Int64 = 1_000_000

  package init() {}
}
