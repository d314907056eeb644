// Read-only connections, each on a thread of its own.
//
// Must never write, checkpoint or hold a snapshot beyond one request, which is bounded in time: an old snapshot keeps
// the log from starting over. Invariant: the fence row and the data of a fenced read come from one snapshot.

import CSQLite
import FencingCore

struct ReadJob: Sendable {
  enum Task: Sendable {
    case query(ReadRequest)
    case floor
  }

  let task: Task
  let complete: @Sendable (Result<ReadEnd, RequestFailure>) -> Void
}

enum ReadEnd: Sendable {
  case floor(Floor?)
  case done(ReadOutcome)
  /// The claims are above the floor. The floor has to rise first: otherwise an older holder could still write after
  /// this read, and the reader would act on what it read.
  case mustRaise
}

final class ReaderQueue: Sendable {
  private struct State: Sendable {
    var jobs: [ReadJob] = []
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
      return nil
    }
  }

  func close() { monitor.withLock { $0.isClosed = true } }

  func next() -> ReadJob? {
    monitor.wait { state -> ReadJob?? in
      if state.jobs.isEmpty { return state.isClosed ? .some(nil) : nil }
      return .some(state.jobs.removeFirst())
    }
  }
}

final class Reader {
  private let connection: Connection
  private let binding: ScopeBinding
  private let limits: EngineLimits
  private let queue: ReaderQueue

  init(path: String, binding: ScopeBinding, limits: EngineLimits, queue: ReaderQueue) throws(SQLiteError) {
    self.connection = try Connection(path: path, isReadOnly: true, limits: limits)
    self.binding = binding
    self.limits = limits
    self.queue = queue
    try connection.runEngine("PRAGMA query_only = ON")
    // Reading once takes the connection into WAL mode now, rather than in somebody's request.
    try connection.runEngine("SELECT count(*) FROM main.sqlite_schema")
    connection.protect()
  }

  func run() {
    while let job = queue.next() { job.complete(answer(job.task)) }
  }

  private func answer(_ task: ReadJob.Task) -> Result<ReadEnd, RequestFailure> {
    do throws(SQLiteError) {
      try connection.runEngine("BEGIN")
    } catch {
      return .failure(Self.failure(of: error))
    }
    defer { endTransaction() }
    connection.guardian.deadlineNanoseconds = MonotonicClock.nanoseconds + UInt64(limits.readSeconds * 1e9)
    defer { connection.guardian.deadlineNanoseconds = .max }
    do throws(SQLiteError) {
      switch task {
      case .query(let request): return try read(request)
      case .floor: return .success(.floor(try floor()))
      }
    } catch {
      return .failure(Self.failure(of: error))
    }
  }

  private func read(_ request: ReadRequest) throws(SQLiteError) -> Result<ReadEnd, RequestFailure> {
    if let claims = request.claims {
      switch admit(claims, against: try floor(), binding: binding) {
      case .accept: break
      case .raise: return .success(.mustRaise)
      case .refuse(let refusal): return .failure(.refused(refusal))
      }
    }
    var results: [StatementOutcome] = []
    var resultBytes = limits.resultBytes
    for statement in request.statements {
      do throws(StatementFailure) {
        results.append(.success(try connection.runClient(statement, mayWrite: false, resultBytes: &resultBytes)))
      } catch {
        if case .interrupted = error { return .failure(.timedOut(seconds: limits.readSeconds)) }
        results.append(.failure(error.text(denial: connection.guardian.denial)))
        // Without its snapshot a later statement would not see what the earlier ones saw.
        guard connection.hasOpenTransaction else {
          return .failure(.storage("the read's snapshot was lost"))
        }
      }
    }
    return .success(.done(ReadOutcome(results: results, floor: request.claims?.floor)))
  }

  private func floor() throws(SQLiteError) -> Floor? {
    // An open database has no fence tables until it sees a token.
    var isFound = false
    try connection.runEngine("SELECT 1 FROM main.sqlite_schema WHERE name = '_fence'") { _ in isFound = true }
    return isFound ? try FenceTable.floor(of: binding.scope, in: connection) : nil
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
