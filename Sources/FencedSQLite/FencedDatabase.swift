// One SQLite file under protection: the engine's face to the rest of the gateway.
//
// Owns the lock on the file, the writer's thread and the readers'. Must never touch SQLite itself: every call is a
// message to one of those threads, so nothing here blocks the cooperative pool. Invariant: the lock is held from
// before the file is opened until after the last connection is closed.

package import FencingCore
package import Logging

/// What can be seen of a database from outside, without asking its threads.
package struct DatabaseStatus: Sendable {
  package let queuedWrites: Int
  package let commits: UInt64
  package let writes: UInt64
  package let refusals: UInt64
  package let replays: UInt64
  package let checkpoints: UInt64
  package let walFrames: Int
  /// Requests that were answered with what an earlier one under the same key has done.
  package let repetitions: UInt64
  /// Scopes that take no token until the core has said what is current; see `FloorCopy`.
  package let closedScopes: [String]
  /// Why no writes are taken any more, if so.
  package let haltReason: String?

  /// What only ever grows, for adding up over several openings of a file.
  package struct Sums: Sendable, Hashable {
    package var commits: UInt64 = 0
    package var writes: UInt64 = 0
    package var refusals: UInt64 = 0
    package var repetitions: UInt64 = 0
    package var replays: UInt64 = 0
    package var checkpoints: UInt64 = 0

    static func + (left: Self, right: Self) -> Self {
      Sums(
        commits: left.commits + right.commits, writes: left.writes + right.writes,
        refusals: left.refusals + right.refusals, repetitions: left.repetitions + right.repetitions,
        replays: left.replays + right.replays, checkpoints: left.checkpoints + right.checkpoints)
    }
  }

  var sums: Sums {
    Sums(
      commits: commits, writes: writes, refusals: refusals, repetitions: repetitions, replays: replays,
      checkpoints: checkpoints)
  }
}

package final class FencedDatabase: Sendable {
  package let declaration: DatabaseDeclaration
  let limits: EngineLimits
  /// The file's one name; see `DatabasePath`.
  let path: String
  let backups = Monitor(())
  /// Whether something is being loaded.
  let loading = Monitor(false)
  let writes: WriterQueue
  private let reads: ReaderQueue
  private let counters: Monitor<Writer.Counters>
  private let writerEnded: Latch
  private let readersEnded: Latch

  /// Takes the lock, opens the file, puts it under protection and starts its threads.
  package init(
    _ declaration: DatabaseDeclaration, limits: EngineLimits = EngineLimits(), logger: Logger
  ) throws(OpenError) {
    let path = try DatabasePath.resolve(declaration.path)
    let lock = try FileLock(databasePath: path)
    self.declaration = declaration
    self.path = path
    self.limits = limits
    self.writes = WriterQueue(limit: limits.queuedRequests)
    self.reads = ReaderQueue(limit: limits.queuedRequests)
    self.counters = Monitor(Writer.Counters())
    self.writerEnded = Latch(count: 1)
    self.readersEnded = Latch(count: limits.readers)
    let start = ThreadStart(
      declaration: declaration, path: path, limits: limits, writes: writes, reads: reads, counters: counters,
      logger: logger)
    do throws(OpenError) {
      try start.startWriter(holding: lock, ended: writerEnded)
      for _ in 0..<limits.readers { try start.startReader(ended: readersEnded) }
    } catch {
      reads.close()
      writes.close()
      throw error
    }
  }

  deinit {
    reads.close()
    writes.close()
  }

  // MARK: Requests

  /// Carries out a write; it is durable when this answers.
  package func execute(_ request: WriteRequest) async throws(RequestFailure) -> WriteOutcome {
    try await answer { give in execute(request, give) }.get()
  }

  /// The same without a task: `complete` is called once, here or on the writer's thread, which must not be held up.
  package func execute(
    _ request: WriteRequest, _ complete: @escaping @Sendable (Result<WriteOutcome, RequestFailure>) -> Void
  ) {
    if let shared = request.claims.first(where: \.isShared) {
      return complete(.failure(.sharedToken(scope: shared.scope)))
    }
    if let failure = writes.add(WriteJob(request: request, complete: complete)) { complete(.failure(failure)) }
  }

  /// Makes a floor durable ahead of every write that waits, and stops the running one if it becomes stale by it.
  @discardableResult
  package func raise(_ claims: FenceClaims) async throws(RequestFailure) -> RaiseReceipt {
    try await answer { give in
      if let failure = writes.add(RaiseJob(claims: claims, complete: give)) { give(.failure(failure)) }
    }.get()
  }

  /// Opens a closed scope: `claims` are the core's word on who holds it, or held it last.
  @discardableResult
  package func seed(_ claims: FenceClaims) async throws(RequestFailure) -> Floor {
    try await answer { give in
      if let failure = writes.add(SeedJob(claims: claims, complete: give)) { give(.failure(failure)) }
    }.get()
  }

  /// Reads in one snapshot; with claims only while they are not stale in that snapshot.
  package func query(_ request: ReadRequest) async throws(RequestFailure) -> ReadOutcome {
    switch try await read(.query(request)) {
    case .done(let outcome): return outcome
    case .mustRaise(let raises): for claims in raises { try await raise(claims) }
    default: throw .storage("a query was answered with something else")
    }
    if case .done(let outcome) = try await read(.query(request)) { return outcome }
    // The floors are at least these claims by now, so the second answer is the outcome or a refusal.
    throw .storage("the floor was raised and is not seen by a reader")
  }

  /// Reads in one snapshot and puts the rows into a sink, on a reader's thread. Returns with the first chunk, or after the
  /// last; throws only before that.
  package func stream(
    _ request: ReadRequest, into makeSink: @escaping @Sendable (@escaping () -> Void) -> any RowSink
  ) async throws(RequestFailure) {
    guard case .mustRaise(let raises) = try await read(.stream(request, makeSink)) else { return }
    for claims in raises { try await raise(claims) }
    if case .mustRaise = try await read(.stream(request, makeSink)) {
      throw .storage("the floor was raised and is not seen by a reader")
    }
  }

  /// The floor of the database's own scope, or of another of its scopes, or `nil` before its first token.
  package func floor(of scope: String? = nil) async throws(RequestFailure) -> Floor? {
    if case .floor(let floor) = try await read(.floor(scope ?? declaration.scope)) { return floor }
    throw .storage("the floor could not be read")
  }

  /// The name of the file for ever, by which the core knows its gateway; `nil` for an open database that no token has
  /// reached yet.
  package func identity() async throws(RequestFailure) -> String? {
    if case .identity(let identity) = try await read(.identity) { return identity }
    throw .storage("the file's identity could not be read")
  }

  /// What the request under this key was answered with, or `nil` where none is known.
  package func keptAnswer(to key: String, scope: String? = nil) async throws(RequestFailure) -> WriteOutcome? {
    let task = ReadJob.Task.recorded(key: key, scope: scope ?? declaration.scope)
    if case .recorded(let outcome) = try await read(task) { return outcome }
    throw .storage("the kept answer could not be read")
  }

  private func read(_ task: ReadJob.Task) async throws(RequestFailure) -> ReadEnd {
    try await answer { give in
      if let failure = reads.add(ReadJob(task: task, complete: give)) { give(.failure(failure)) }
    }.get()
  }

  package var status: DatabaseStatus {
    let counters = counters.read { $0 }
    return DatabaseStatus(
      queuedWrites: writes.unanswered, commits: counters.commits, writes: counters.writes, refusals: counters.refusals,
      replays: counters.replays, checkpoints: counters.checkpoints, walFrames: Int(counters.walFrames),
      repetitions: counters.repetitions, closedScopes: counters.closedScopes.keys.sorted(),
      haltReason: counters.haltReason)
  }

  /// Whether no request waits or runs.
  var isIdle: Bool { writes.unanswered == 0 && reads.unfinished == 0 }

  /// Takes no further requests, finishes those that it has, and closes the file. May be called more than once.
  package func close() async {
    // Readers go first, so that the writer's connection is the last one and leaves one clean file behind.
    reads.close()
    await readersEnded.wait()
    writes.close()
    await writerEnded.wait()
  }
}

/// Starts the threads of one database and hears from each whether it came up.
private struct ThreadStart: Sendable {
  let declaration: DatabaseDeclaration
  let path: String
  let limits: EngineLimits
  let writes: WriterQueue
  let reads: ReaderQueue
  let counters: Monitor<Writer.Counters>
  let logger: Logger

  func startWriter(holding lock: FileLock, ended: Latch) throws(OpenError) {
    try start(runWriter) {
      // The connection is closed by now, so the next gateway may come.
      lock.release()
      ended.countDown()
    }
  }

  func startReader(ended: Latch) throws(OpenError) {
    try start(runReader) { ended.countDown() }
  }

  private func start(
    _ body: @escaping @Sendable (_ report: (OpenError?) -> Void) -> Void,
    ended: @escaping @Sendable () -> Void
  ) throws(OpenError) {
    let outcome = Monitor<Result<Void, OpenError>?>(nil)
    let isStarted = DedicatedThread.start {
      var failure: OpenError?
      body { error in
        if let error { failure = error } else { outcome.withLock { $0 = .success(()) } }
      }
      ended()
      // Whoever hears of a failure may try again at once, and must not meet the lock of this try.
      if let failure { outcome.withLock { $0 = .failure(failure) } }
    }
    guard isStarted else {
      ended()
      throw .noThread
    }
    try outcome.wait { $0 }.get()
  }

  private func runWriter(_ report: (OpenError?) -> Void) {
    do throws(OpenError) {
      let opened = try DatabaseOpening.openWriter(declaration, path: path, limits: limits)
      let writer = Writer(
        opened, declaration: declaration, limits: limits, queue: writes, published: counters, logger: logger)
      report(nil)
      writer.run()
    } catch {
      report(error)
    }
  }

  private func runReader(_ report: (OpenError?) -> Void) {
    do throws(SQLiteError) {
      let reader = try Reader(
        path: path, scopes: ScopeMap(declaration), limits: limits, queue: reads, counters: counters)
      report(nil)
      reader.run()
    } catch {
      report(DatabaseOpening.describe(error, path: declaration.path))
    }
  }
}

/// Counts threads down to their end, and resumes whoever awaits it.
private final class Latch: Sendable {
  private struct State: Sendable {
    var count: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let monitor: Monitor<State>

  init(count: Int) { self.monitor = Monitor(State(count: count)) }

  func countDown() {
    let waiting = monitor.withLock { state in
      state.count -= 1
      guard state.count == 0 else { return [CheckedContinuation<Void, Never>]() }
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let isOver = monitor.withLock { state in
        if state.count > 0 { state.waiting.append(continuation) }
        return state.count <= 0
      }
      if isOver { continuation.resume() }
    }
  }
}
