// One declared database, open or not: opened when it is first asked for, closed when nobody asked for a while.
//
// Must never have the file open twice, and never close it under somebody's request. Opening and closing block, so they run
// on threads of their own; whoever comes meanwhile waits for the end of it.

package import Logging
import Synchronization

package final class DatabaseSlot: Sendable {
  private enum Phase {
    case closed
    case opening(Task<Result<FencedDatabase, OpenError>, Never>)
    case open(FencedDatabase)
    case closing(Task<Void, Never>)
  }

  private struct State {
    var phase = Phase.closed
    var users = 0
    var usedAtNanoseconds: UInt64 = 0
    var isEnded = false
    /// The counters of earlier openings, so that they never fall.
    var past = DatabaseStatus.Sums()
  }

  package let declaration: DatabaseDeclaration
  private let limits: EngineLimits
  private let logger: Logger
  private let state = Mutex(State())

  package init(_ declaration: DatabaseDeclaration, limits: EngineLimits, logger: Logger) {
    self.declaration = declaration
    self.limits = limits
    self.logger = logger
  }

  /// What can be seen of the database, or `nil` while it is closed.
  package var status: DatabaseStatus? { current?.status }

  /// What was counted since the gateway started.
  package var sums: DatabaseStatus.Sums {
    state.withLock { state in
      guard case .open(let database) = state.phase else { return state.past }
      return state.past + database.status.sums
    }
  }

  package var isOpen: Bool { current != nil }

  private var current: FencedDatabase? {
    state.withLock { state in
      if case .open(let database) = state.phase { return database }
      return nil
    }
  }

  // MARK: Using it

  /// Opens the file, if it is not, and keeps it open until `release`.
  package func lease() async throws(OpenError) -> FencedDatabase {
    while true {
      enum Step {
        case use(FencedDatabase)
        case wait(Task<Result<FencedDatabase, OpenError>, Never>)
        case waitForEnd(Task<Void, Never>)
        case ended
      }
      let step = state.withLock { state -> Step in
        if state.isEnded { return .ended }
        switch state.phase {
        case .open(let database):
          state.users += 1
          return .use(database)
        case .opening(let task): return .wait(task)
        case .closing(let task): return .waitForEnd(task)
        case .closed:
          let task = Task { [self] in await open() }
          state.phase = .opening(task)
          return .wait(task)
        }
      }
      switch step {
      case .use(let database): return database
      case .wait(let task): _ = try await task.value.get()
      case .waitForEnd(let task): await task.value
      case .ended: throw .gatewayStopping
      }
    }
  }

  /// The file, where it is open already, kept open until `release`.
  package func leaseIfOpen() -> FencedDatabase? {
    state.withLock { state in
      guard !state.isEnded, case .open(let database) = state.phase else { return nil }
      state.users += 1
      return database
    }
  }

  package func release() {
    state.withLock { state in
      precondition(state.users > 0, "each release has its lease")
      state.users -= 1
      state.usedAtNanoseconds = MonotonicClock.nanoseconds
    }
  }

  private func open() async -> Result<FencedDatabase, OpenError> {
    let (declaration, limits, logger) = (declaration, limits, logger)
    let result: Result<FencedDatabase, OpenError> = await answer { give in
      let isStarted = DedicatedThread.start {
        give(
          Result { () throws(OpenError) in
            try FencedDatabase(declaration, limits: limits, logger: logger)
          })
      }
      if !isStarted { give(.failure(.noThread)) }
    }
    state.withLock { state in
      state.usedAtNanoseconds = MonotonicClock.nanoseconds
      if case .success(let database) = result { state.phase = .open(database) } else { state.phase = .closed }
    }
    return result
  }

  // MARK: Closing it

  /// How long nobody has used the open file; `nil` where it is not open, or in use.
  package var idleNanoseconds: UInt64? {
    state.withLock { state in
      guard case .open(let database) = state.phase, state.users == 0, database.isIdle else { return nil }
      let now = MonotonicClock.nanoseconds
      return now > state.usedAtNanoseconds ? now - state.usedAtNanoseconds : 0
    }
  }

  /// Closes the file where nobody uses it. One that has stopped taking writes stays as it is, for people to see.
  package func closeIfIdle() async {
    let task = state.withLock { state -> Task<Void, Never>? in
      guard case .open(let database) = state.phase, state.users == 0, database.isIdle,
        database.status.haltReason == nil
      else { return nil }
      return startClosing(database, &state)
    }
    await task?.value
  }

  /// Takes no further leases, and closes the file after those that run have been answered.
  package func end() async {
    let task = state.withLock { state -> Task<Void, Never>? in
      state.isEnded = true
      switch state.phase {
      case .open(let database): return startClosing(database, &state)
      case .closing(let task): return task
      case .closed: return nil
      case .opening(let opening):
        return Task { [self] in
          _ = await opening.value
          await end()
        }
      }
    }
    await task?.value
  }

  private func startClosing(_ database: FencedDatabase, _ state: inout State) -> Task<Void, Never> {
    let task = Task { [self] in
      await database.close()
      self.state.withLock { state in
        state.past = state.past + database.status.sums
        state.phase = .closed
      }
    }
    state.phase = .closing(task)
    return task
  }
}
