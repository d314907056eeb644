// Read-only connections, each on a thread of its own.
//
// Must never write, checkpoint or hold a snapshot beyond one request, which is bounded in time: an old snapshot keeps
// the log from starting over. Invariant: the fence row and the data of a fenced read come from one snapshot.

import CSQLite
import FencingCore

struct ReadJob: Sendable {
  enum Task: Sendable {
    case query(ReadRequest)
    case floor(String)
    case identity
    case recorded(key: String, scope: String)
    /// A query whose rows go into a sink; it is answered when the first of them were sent, or all.
    case stream(ReadRequest, @Sendable (_ onFirstChunk: @escaping () -> Void) -> any RowSink)
  }

  let task: Task
  let complete: @Sendable (Result<ReadEnd, RequestFailure>) -> Void
}

enum ReadEnd: Sendable {
  case floor(Floor?)
  case identity(String?)
  case recorded(WriteOutcome?)
  case done(ReadOutcome)
  case streaming
  /// These claims are above the floor. The floor has to rise first: otherwise an older holder could still write after
  /// this read, and the reader would act on what it read.
  case mustRaise([FenceClaims])
}

final class ReaderQueue: Sendable {
  private struct State: Sendable {
    var jobs: [ReadJob] = []
    /// Waiting, or with a reader.
    var unfinished = 0
    var isClosed = false
  }

  private let monitor = Monitor(State())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  func add(_ job: ReadJob) -> RequestFailure? {
    monitor.withLock { state in
      if state.isClosed { return .closed }
      if state.jobs.count >= limit { return .overloaded(queued: state.jobs.count) }
      state.jobs.append(job)
      state.unfinished += 1
      return nil
    }
  }

  func close() { monitor.withLock { $0.isClosed = true } }

  var unfinished: Int { monitor.read { $0.unfinished } }

  func finished() { monitor.withLock { $0.unfinished -= 1 } }

  func next() -> ReadJob? {
    monitor.wait { state -> ReadJob?? in
      if state.jobs.isEmpty { return state.isClosed ? .some(nil) : nil }
      return .some(state.jobs.removeFirst())
    }
  }
}

final class Reader {
  private let connection: Connection
  private let scopes: ScopeMap
  private let limits: EngineLimits
  private let queue: ReaderQueue
  /// What the writer says of the database, its closed scopes among it.
  private let counters: Monitor<Writer.Counters>

  init(
    path: String, scopes: ScopeMap, limits: EngineLimits, queue: ReaderQueue, counters: Monitor<Writer.Counters>
  ) throws(SQLiteError) {
    self.connection = try Connection(path: path, isReadOnly: true, limits: limits)
    self.scopes = scopes
    self.limits = limits
    self.queue = queue
    self.counters = counters
    try connection.runEngine("PRAGMA query_only = ON")
    // Reading once takes the connection into WAL mode now, rather than in somebody's request.
    try connection.runEngine("SELECT count(*) FROM main.sqlite_schema")
    connection.protect()
  }

  func run() {
    while let job = queue.next() {
      // A stream is answered with its first chunk, and goes on after that.
      var isAnswered = false
      let result = answer(job.task) {
        isAnswered = true
        job.complete(.success(.streaming))
      }
      queue.finished()
      if !isAnswered { job.complete(result) }
    }
  }

  private func answer(_ task: ReadJob.Task, onFirstChunk: @escaping () -> Void) -> Result<ReadEnd, RequestFailure> {
    do throws(SQLiteError) {
      try connection.runEngine("BEGIN")
    } catch {
      return .failure(Self.failure(of: error))
    }
    defer { endTransaction() }
    do throws(SQLiteError) {
      switch task {
      case .query(let request): return try read(request)
      case .stream(let request, let makeSink): return try stream(request, into: makeSink(onFirstChunk))
      case .floor(let scope): return .success(.floor(try floor(of: scope)))
      case .identity:
        let identity = try has(table: "_fence_identity") ? try FenceTable.identity(in: connection) : nil
        return .success(.identity(identity))
      case .recorded(let key, let scope): return try recorded(key, scope: scope)
      }
    } catch {
      return .failure(Self.failure(of: error))
    }
  }

  private func recorded(_ key: String, scope: String) throws(SQLiteError) -> Result<ReadEnd, RequestFailure> {
    guard try has(table: "_fence_request") else { return .success(.recorded(nil)) }
    switch try RequestRecords.find(key, hash: nil, scope: scope, in: connection) {
    case .nothing: return .success(.recorded(nil))
    case .answer(let outcome): return .success(.recorded(outcome))
    case .failure(let failure): return .failure(failure)
    }
  }

  private func check(_ request: ReadRequest) throws(SQLiteError) -> Result<ReadEnd, RequestFailure>? {
    var raises: [FenceClaims] = []
    for claims in request.claims {
      if counters.read({ $0.closedScopes[claims.scope] != nil }) { return .failure(.scopeClosed(scope: claims.scope)) }
      let binding = scopes.binding(for: claims)
      switch admit(claims, against: try floor(of: binding.scope), binding: binding) {
      case .accept: break
      case .raise: raises.append(claims)
      case .refuse(let refusal): return .failure(.refused(refusal))
      }
    }
    return raises.isEmpty ? nil : .success(.mustRaise(raises))
  }

  private func read(_ request: ReadRequest) throws(SQLiteError) -> Result<ReadEnd, RequestFailure> {
    if let end = try check(request) { return end }
    let seconds = min(limits.readSeconds, request.timeoutSeconds)
    connection.guardian.deadlineNanoseconds = MonotonicClock.nanoseconds + UInt64(seconds * 1e9)
    defer { connection.guardian.deadlineNanoseconds = .max }
    var results: [StatementOutcome] = []
    var room = ResultRoom(limits)
    for statement in request.statements {
      do throws(StatementFailure) {
        results.append(.success(try connection.runClient(statement, mayWrite: false, room: &room)))
      } catch {
        if request.onlyReads, case .unusable(Connection.writes) = error {
          return .failure(.tokenRequired(scope: scopes.own))
        }
        if case .interrupted = error { return .failure(.timedOut(seconds: seconds)) }
        results.append(.failure(error.text(denial: connection.guardian.denial)))
        // Without its snapshot a later statement would not see what the earlier ones saw.
        guard connection.hasOpenTransaction else {
          return .failure(.storage("the read's snapshot was lost"))
        }
      }
    }
    let floors = request.claims.map { ScopeFloor(scope: $0.scope, floor: $0.floor) }
    return .success(.done(ReadOutcome(results: results, floors: floors)))
  }

  private func stream(
    _ request: ReadRequest, into sink: any RowSink
  ) throws(SQLiteError) -> Result<ReadEnd, RequestFailure> {
    if let end = try check(request) { return end }
    let seconds = min(limits.streamSeconds, request.timeoutSeconds)
    connection.guardian.deadlineNanoseconds = MonotonicClock.nanoseconds + UInt64(seconds * 1e9)
    defer { connection.guardian.deadlineNanoseconds = .max }
    var unused = ResultRoom(limits)
    for statement in request.statements {
      do throws(StatementFailure) {
        let result = try connection.runClient(statement, mayWrite: false, room: &unused, into: sink)
        sink.end(error: nil, nanoseconds: result.nanoseconds)
      } catch {
        if case .abandoned = error { return .success(.streaming) }
        let isOver = if case .interrupted = error { true } else { !connection.hasOpenTransaction }
        // What comes too late for the status stands in the answer.
        if isOver && !sink.hasStarted { return .failure(.timedOut(seconds: seconds)) }
        sink.end(error: error.text(denial: connection.guardian.denial), nanoseconds: 0)
        if isOver { break }
      }
    }
    sink.finish(request.claims.map { ScopeFloor(scope: $0.scope, floor: $0.floor) })
    return .success(.streaming)
  }

  private func floor(of scope: String) throws(SQLiteError) -> Floor? {
    // An open database has no fence tables until it sees a token.
    try has(table: "_fence") ? try FenceTable.floor(of: scope, in: connection) : nil
  }

  private func has(table: String) throws(SQLiteError) -> Bool {
    var isFound = false
    try connection.runEngine("SELECT 1 FROM main.sqlite_schema WHERE name = ?1", [.text(table)]) { _ in isFound = true }
    return isFound
  }

  private func endTransaction() {
    guard connection.hasOpenTransaction else { return }
    do throws(SQLiteError) {
      try connection.runEngine("ROLLBACK")
    } catch {
      // A read transaction that does not end is ended by resetting every statement that still holds it.
      connection.forgetClientStatements()
    }
  }

  private static func failure(of error: SQLiteError) -> RequestFailure {
    error.primaryCode == SQLITE_BUSY ? .busy(error.message) : .storage(error.message)
  }
}
