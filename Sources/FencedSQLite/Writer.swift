// The one connection that writes: its thread, its transactions, its checkpoints.
//
// Confined to its thread (not Sendable). Must never answer a request before the commit that carries it is durable, and
// never let a second connection write or checkpoint (SQLite 3.7.0 to 3.51.2 can lose a commit to two that do).
// Invariants: raises go before writes; a group's members are committed together or run again one by one; after a
// fatal error nothing is written until the file is opened again, because after a failed flush the next one that
// succeeds may cover lost pages.

import CSQLite
import FencingCore
import Logging

final class Writer {
  struct Counters: Sendable, Hashable {
    var commits: UInt64 = 0
    var writes: UInt64 = 0
    var refusals: UInt64 = 0
    var replays: UInt64 = 0
    var checkpoints: UInt64 = 0
    var walFrames: Int32 = 0
    var repetitions: UInt64 = 0
    /// Scopes whose file and copy of the floors disagreed when the file was opened, until they are seeded.
    var closedScopes: [String: ClosedScope] = [:]
    var haltReason: String?
  }

  let connection: Connection
  let declaration: DatabaseDeclaration
  let limits: EngineLimits
  let scopes: ScopeMap
  let floorFile: FloorFile
  private let queue: WriterQueue
  private let published: Monitor<Counters>
  private let logger: Logger
  var counters = Counters()
  var hasFenceTable: Bool
  var records: RequestRecords
  /// Whether the open transaction raises a floor, so that the copy has to follow it.
  var isRaising = false
  /// The scopes of the last request that ran, since mostly the next one has the same.
  var heldScopes: (claims: [FenceClaims], scopes: Set<String>) = ([], [])
  /// Of the open transaction.
  var floors = TransactionFloors()
  /// Writes that were taken off the queue and are not answered yet, in order.
  private var backlog: [WriteJob] = []

  init(
    _ opened: OpenedDatabase, declaration: DatabaseDeclaration, limits: EngineLimits, queue: WriterQueue,
    published: Monitor<Counters>, logger: Logger
  ) {
    self.connection = opened.connection
    self.hasFenceTable = opened.hasFenceTable
    self.floorFile = opened.floorFile
    self.declaration = declaration
    self.limits = limits
    self.scopes = ScopeMap(declaration)
    self.records = RequestRecords(limits: limits)
    self.queue = queue
    self.published = published
    self.logger = logger
    counters.closedScopes = opened.closedScopes
    connection.guardian.scopes = scopes
    connection.guardian.isOvertaken = { [queue] claims in queue.overtakes(claims) }
    publish()
  }

  /// Serves the queue until it is closed and empty.
  func run() {
    checkpointIfNeeded()
    while let batch = queue.next() {
      backlog.append(contentsOf: batch.writes)
      raise(batch.raises)
      batch.seeds.forEach(seed)
      batch.loads.forEach(load)
      while !backlog.isEmpty {
        commitGroup()
        raise(queue.takeRaises())
      }
      checkpointIfNeeded()
      publish()
    }
  }

  func publish() {
    counters.walFrames = connection.guardian.walFrames
    let counters = counters
    published.withLock { $0 = counters }
  }

  // MARK: Transactions

  func begin() throws(RequestFailure) {
    if let reason = counters.haltReason { throw .halted(reason) }
    floors.forget()
    do throws(SQLiteError) {
      try connection.runEngine("BEGIN IMMEDIATE")
    } catch {
      throw failure(of: error)
    }
  }

  /// Makes everything since `begin` durable.
  func commit() throws(SQLiteError) {
    connection.guardian.isCommitting = true
    defer { connection.guardian.isCommitting = false }
    try connection.runEngine("COMMIT")
    precondition(!connection.hasOpenTransaction, "a transaction that was committed is over")
    counters.commits += 1
    records.committed()
    guard isRaising else { return }
    isRaising = false
    do throws(SQLiteError) {
      try copyFloors()
    } catch {
      halt(error.message)
      throw error
    }
  }

  func rollBack() {
    isRaising = false
    records.rolledBack()
    guard connection.hasOpenTransaction else { return }
    do throws(SQLiteError) {
      try connection.runEngine("ROLLBACK")
    } catch {
      halt("a transaction could not be rolled back: \(error.message)")
    }
  }

  /// Says what an error means for the request, and stops the writer where the file can no longer be trusted.
  func failure(of error: SQLiteError) -> RequestFailure {
    if error.isFatal {
      halt(error.message)
      return .halted(error.message)
    }
    if error.primaryCode == SQLITE_BUSY || error.primaryCode == SQLITE_LOCKED { return .busy(error.message) }
    if error.primaryCode == SQLITE_FULL { return .diskFull(error.message) }
    return .storage(error.message)
  }

  func halt(_ reason: String) {
    guard counters.haltReason == nil else { return }
    counters.haltReason = reason
    publish()
    logger.error(
      "database takes no writes any more", metadata: ["database": "\(declaration.name)", "why": "\(reason)"])
  }

  // MARK: Raises

  private func raise(_ jobs: [RaiseJob]) {
    guard !jobs.isEmpty else { return }
    var answers: [Result<RaiseReceipt, RequestFailure>] = []
    do throws(RequestFailure) {
      answers = try raised(jobs)
    } catch {
      rollBack()
      answers = jobs.map { _ in .failure(error) }
    }
    publish()
    for (job, answer) in zip(jobs, answers) { job.complete(answer) }
  }

  private func raised(_ jobs: [RaiseJob]) throws(RequestFailure) -> [Result<RaiseReceipt, RequestFailure>] {
    let followsCommit = counters.commits
    var answers: [Result<RaiseReceipt, RequestFailure>] = []
    var isChanged = false
    try begin()
    do throws(SQLiteError) {
      if !hasFenceTable {
        try FenceTable.create(in: connection)
        (isChanged, isRaising) = (true, true)
      }
      for job in jobs {
        guard counters.closedScopes[job.claims.scope] == nil else {
          answers.append(.failure(.scopeClosed(scope: job.claims.scope)))
          continue
        }
        let binding = scopes.binding(for: job.claims)
        let old = try FenceTable.floor(of: binding.scope, in: connection)
        switch admit(job.claims, against: old, binding: binding) {
        case .accept:
          answers.append(.success(RaiseReceipt(floor: job.claims.floor, followsCommit: followsCommit)))
        case .raise(let new):
          try FenceTable.raise(binding.scope, from: old, to: new, in: connection)
          (isChanged, isRaising) = (true, true)
          answers.append(.success(RaiseReceipt(floor: new, followsCommit: followsCommit)))
        case .refuse(let refusal):
          counters.refusals += 1
          answers.append(.failure(.refused(refusal)))
        }
      }
      if isChanged {
        try commit()
        hasFenceTable = true
      }
    } catch {
      throw failure(of: error)
    }
    rollBack()
    return answers
  }

  // MARK: Group commit

  /// Runs the first writes of the backlog in one transaction and answers those that it has decided.
  private func commitGroup() {
    if let reason = counters.haltReason {
      answerAll(.halted(reason))
      return
    }
    let group = nextGroup()
    var finished: [Result<WriteOutcome, RequestFailure>] = []
    do throws(RequestFailure) {
      try ensureFenceTable(for: group)
      try begin()
    } catch {
      rollBack()
      answer(group.map { _ in .failure(error) })
      return
    }
    connection.guardian.committingClaims.removeAll(keepingCapacity: true)
    defer { connection.guardian.committingClaims.removeAll(keepingCapacity: true) }
    for (index, job) in group.enumerated() {
      // What is done so far is committed, so that the raise does not wait for the rest.
      if index > 0 && queue.hasRaises { break }
      switch run(job.request) {
      case .decided(let result):
        finished.append(result)
        connection.guardian.committingClaims.append(contentsOf: job.request.claims)
      case .transactionLost(let cause):
        groupLost(at: index, in: group, cause: cause)
        return
      }
    }
    commit(finished)
  }

  private func nextGroup() -> ArraySlice<WriteJob> {
    if backlog[0].isAlone { return backlog[..<1] }
    let group = backlog.prefix { !$0.isAlone }
    return group.prefix(limits.groupedRequests)
  }

  private func commit(_ finished: [Result<WriteOutcome, RequestFailure>]) {
    let isWorthwhile = finished.contains { result in
      if case .success(let outcome) = result { return !outcome.isRepeated }
      return false
    }
    do throws(SQLiteError) {
      // A group of refusals has changed nothing: there is nothing to flush.
      connection.guardian.isCommitOvertaken = false
      if isWorthwhile {
        guard try floors.hold(in: connection) else { return fenceChanged(by: finished.count) }
        try commit()
      } else {
        rollBack()
      }
      counters.writes += UInt64(finished.count)
      answer(finished)
    } catch {
      rollBack()
      // The raise goes first; then the group runs again, and the raised floor decides over it.
      if connection.guardian.isCommitOvertaken { return counters.replays += 1 }
      let failure = failure(of: error)
      if case .halted = failure {
        answer(finished.map { _ in .failure(failure) })
      } else if finished.count == 1 {
        answer([.failure(failure)])
      } else {
        replayAlone(finished.count)
      }
    }
  }

  /// One request's automatic rollback took the group with it. Whoever ran before it in the group, and it itself, run
  /// again one by one; who came after it forms a new group.
  private func groupLost(at index: Int, in group: ArraySlice<WriteJob>, cause: LostTransaction) {
    rollBack()
    switch cause {
    case .overtaken:
      replayAlone(index + 1)
    case .failed(let result):
      if index == 0 { answer([result]) } else { replayAlone(index + 1) }
    case .timedOut(let result):
      // It is not run again: it would take its full time once more, with everybody else waiting.
      let job = backlog.remove(at: backlog.startIndex + index)
      replayAlone(index)
      queue.answered(1)
      job.complete(result)
    }
  }

  /// One of the requests found a way to the fence row, past the rules. All of them run again, and it alone fails.
  private func fenceChanged(by count: Int) {
    rollBack()
    if count > 1 { return replayAlone(count) }
    answer([.failure(.storage("the request changed the fence row, so all of it was undone"))])
  }

  private func replayAlone(_ count: Int) {
    counters.replays += 1
    for index in 0..<count { backlog[index].isAlone = true }
  }

  private func answer(_ results: [Result<WriteOutcome, RequestFailure>]) {
    let jobs = Array(backlog.prefix(results.count))
    backlog.removeFirst(results.count)
    queue.answered(results.count)
    publish()
    for (job, result) in zip(jobs, results) { job.complete(result) }
  }

  private func answerAll(_ failure: RequestFailure) {
    answer(backlog.map { _ in .failure(failure) })
  }

  /// An open database gets its fence tables when it first sees a token, in a transaction before the group's.
  private func ensureFenceTable(for group: ArraySlice<WriteJob>) throws(RequestFailure) {
    guard !hasFenceTable, group.contains(where: { $0.request.needsFenceTable }) else { return }
    try begin()
    do throws(SQLiteError) {
      try FenceTable.create(in: connection)
      isRaising = true
      try commit()
    } catch {
      throw failure(of: error)
    }
    hasFenceTable = true
  }

  // MARK: Checkpoints

  /// Runs after the replies, between two groups; readers are bounded in time, so the log can always start over.
  private func checkpointIfNeeded() {
    let frames = connection.guardian.walFrames
    guard counters.haltReason == nil, frames >= limits.checkpointFrames else { return }
    let mode = frames >= limits.truncateFrames ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE
    // Waiting for readers holds up the queue, so it is kept short; the next commit tries again.
    sqlite3_busy_timeout(connection.handle, min(100, limits.busyMilliseconds))
    var logFrames: Int32 = 0
    var checkpointedFrames: Int32 = 0
    let code = sqlite3_wal_checkpoint_v2(connection.handle, nil, mode, &logFrames, &checkpointedFrames)
    sqlite3_busy_timeout(connection.handle, limits.busyMilliseconds)
    counters.checkpoints += 1
    if code != SQLITE_OK {
      let error = connection.lastError()
      if error.isFatal { halt("a checkpoint failed: \(error.message)") }
    } else if logFrames == checkpointedFrames {
      // Everything is in the database file: the next commit starts the log over and reports its new size.
      connection.guardian.walFrames = 0
    }
  }
}
