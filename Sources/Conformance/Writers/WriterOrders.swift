// What the runner and a writer say to each other: a JSON object a line, orders on the writer's standard input and reports on
// its standard output. Several orders may be under way; each report has its order's number.

/// What a writer is told to do.
package enum WriterOrder: Codable, Sendable {
  /// Open a session and acquire; what was held before is forgotten.
  case acquire(AcquireOrder)
  case send(ResourceRequest)
  /// Say when what is held is lost.
  case untilLost
  /// Give up what is held.
  case release
  /// Work on the set of the lock-set workload until `stop`.
  case work(SetWork)
  case stop
  /// Say whether the set is being worked on at this moment.
  case isHolding
}

/// What came of it.
package enum WriterReport: Codable, Sendable {
  case granted([Held])
  case answered(ResourceAnswer)
  case lost(Loss)
  case worked(SetReport)
  case holding(Bool)
  case done
  case failed(String)
}

struct NumberedOrder: Codable, Sendable {
  let number: Int
  let order: WriterOrder
}

struct NumberedReport: Codable, Sendable {
  let number: Int
  let report: WriterReport
}
