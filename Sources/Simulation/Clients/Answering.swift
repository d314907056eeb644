// Owns what an answer means to the one who asked.
// Must never: take an answer for another request than its own.
// Invariant: an operation is answered once, by the node that it was asked of, in the life in which it was asked.

import CoordinationCore
import RaftCore

extension Simulator {
  mutating func answer(
    _ id: UInt64, _ outcome: Outcome, at index: RaftCore.Index, revision: Revision? = nil
  ) throws(Broken) {
    let operation = operations[id]
    guard operation.state == .open || operation.state == .superseded else { return }
    try checker.state.acknowledged(id, operation)
    operations.acknowledge(id, at: now, index: index)
    let logical = operation.logical
    switch outcome {
    case .put: history.complete(logical, .wrote(true, revision: revision), at: now)
    case .deleted(let count, _): history.complete(logical, .wrote(count > 0, revision: revision), at: now)
    case .transaction(let result):
      if !result.succeeded { reach(.comparedAndFailed) }
      history.complete(logical, .wrote(result.succeeded, revision: revision), at: now)
    case .clientOpened(let client, _):
      if case .openClient(let position) = operation.work, clients[position].openedBy == id {
        clients[position] = NamedClient(id: client)
      }
    case .failed(let error): try failed(id, operation, error)
    default: break
    }
    if let name = operation.name { settleNamed(name, isForgotten: false) }
    try sessionAnswered(id, operation, outcome)
    try contenderAnswered(id, operation, outcome)
  }

  private mutating func failed(_ id: UInt64, _ operation: Operation, _ error: RequestError) throws(Broken) {
    switch error {
    case .clientExpired, .sequenceForgotten:
      // Whether an earlier attempt was executed stays unknown, so the history keeps it open.
      reach(.clientEvicted)
      if let name = operation.name { settleNamed(name, isForgotten: true) }
    case .compacted, .futureRevision: break
    case .leaseNotFound, .leaseExists: break
    default:
      throw Broken("no request is malformed", "operation \(id), \(operation.work), ended with \(error)")
    }
  }

  /// The core turned it down: certainly not applied by this attempt.
  mutating func refusedAnswer(_ id: UInt64, _ refusal: Refusal) {
    let operation = operations[id]
    if operation.work == .membership { reach(.changeRefused) }
    guard operation.name == nil else { return }
    history.remove(operation.logical)
    sessionRefused(operation)
    contenderRefused(id, operation)
  }
}
