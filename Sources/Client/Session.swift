// A session: a lease that is kept alive, with a deadline of the client's own.
//
// The deadline is counted from the *sending* of the last renewal that was answered, on a clock that goes on while the
// machine is suspended, and ends a margin before the server's. So a client that looks at its deadline stops before
// anybody else can be granted what it holds; what it does after a pause in which it could not look is what the fence is
// for.

import NIOConcurrencyHelpers
import Protocol
import Wire

/// How a session stands, by the clock of the client.
public enum SessionState: Sendable, Hashable {
  /// Renewed in time.
  case active
  /// The next renewal is overdue. Until the deadline the session may be relied on, and perhaps not for long.
  case jeopardy
  /// Nothing that the session held may be relied on, and nothing brings it back.
  case lost(SessionEnding)
}

/// Why a session is over.
public enum SessionEnding: Sendable, Hashable {
  /// It was closed by its owner.
  case closed
  /// No renewal was answered before the deadline.
  case deadlinePassed
  /// The cluster said that it does not exist (any more): it was revoked, or expired while nobody could tell.
  case endedByCluster
}

/// A lease that is kept alive in the background. Safe to share between tasks. It goes on until `close`, so close it.
public final class Session: Sendable {
  private struct State {
    var deadline: ContinuousClock.Instant
    var shown = SessionState.active
    var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    var readers: [Int: AsyncStream<SessionState>.Continuation] = [:]
    var nextKey = 0
    var renewal: Task<Void, Never>?

    var isOver: Bool { if case .lost = shown { true } else { false } }
  }

  /// Its id, which can be named wherever a lease can: what lives on it ends with it.
  public let lease: Int64
  /// The name by which others can tell whose it is.
  public let holder: String
  /// What the server granted.
  public let timeToLive: Duration

  /// What it was opened on.
  public var client: Portcullis { portcullis }

  let portcullis: Portcullis
  private let state: NIOLockedValueBox<State>

  private init(
    client: Portcullis, session: Portcullis_V1_Session, sent: ContinuousClock.Instant
  ) {
    self.portcullis = client
    self.lease = session.id
    self.holder = session.holder
    self.timeToLive = .milliseconds(session.ttlMs)
    let deadline = Self.deadline(sent: sent, timeToLive: timeToLive)
    self.state = NIOLockedValueBox(State(deadline: deadline))
  }

  /// Opens a session and keeps it alive until `close`, or until it is lost.
  /// - Parameters:
  ///   - holder: a name by which others can tell whose it is, of 512 bytes at most. Nil: host and process.
  ///   - timeToLive: how long it outlives this process; the server has a minimum of half a second or more.
  public static func open(
    on client: Portcullis, holder: String? = nil, timeToLive: Duration
  ) async throws(ClientError) -> Session {
    var request = Portcullis_V1_OpenSessionRequest()
    request.holder = holder ?? HolderName.ofThisProcess
    request.ttlMs = timeToLive.milliseconds
    request.requestID = RequestID.random()
    // A retry may find the session that the first attempt opened, so its time runs from before that.
    let sent = ContinuousClock.now
    let response: Portcullis_V1_OpenSessionResponse
    do {
      response = try await client.call(
        RPCPath.Sessions.open, request, as: Portcullis_V1_OpenSessionResponse.self, isRepeatable: true)
    } catch {
      throw ClientError(error, during: "opening a session")
    }
    let session = Session(client: client, session: response.session, sent: sent)
    session.startRenewing()
    return session
  }

  /// From this instant on the session must be taken for lost.
  public var deadline: ContinuousClock.Instant { state.withLockedValue { $0.deadline } }

  /// Whether the session may still be relied on.
  public var isAlive: Bool { state.withLockedValue { !$0.isOver && ContinuousClock.now < $0.deadline } }

  /// How the session stands now.
  public var current: SessionState {
    state.withLockedValue { state in
      !state.isOver && ContinuousClock.now >= state.deadline ? .lost(.deadlinePassed) : state.shown
    }
  }

  /// How the session stands, and each change of it; the last one is `lost`.
  public var states: AsyncStream<SessionState> {
    let (stream, continuation) = AsyncStream<SessionState>.makeStream()
    let (key, isOver) = state.withLockedValue { state -> (Int, Bool) in
      state.nextKey += 1
      continuation.yield(state.shown)
      if !state.isOver { state.readers[state.nextKey] = continuation }
      return (state.nextKey, state.isOver)
    }
    if isOver { continuation.finish() }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLockedValue { _ = $0.readers.removeValue(forKey: key) }
    }
    return stream
  }

  /// Returns when the session is over: closed, lost at its deadline, or ended by the cluster; or when the calling task is
  /// cancelled.
  public func waitUntilOver() async {
    let key = state.withLockedValue { state in
      state.nextKey += 1
      return state.nextKey
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLockedValue { state in
          if !state.isOver && !Task.isCancelled { state.waiters[key] = continuation }
          return state.waiters[key] == nil
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLockedValue { $0.waiters.removeValue(forKey: key) }
      waiter?.resume()
    }
  }

  /// Gives up everything that the session holds, at once. Errors are of no consequence: what is not closed ends by itself.
  public func close() async {
    end(.closed)
    var request = Portcullis_V1_CloseSessionRequest()
    request.id = lease
    let message = request
    // A task that was cancelled can still do this, and whoever waits for the scope need not wait for the deadline.
    let closing = Task { [portcullis] in
      _ = try? await portcullis.call(
        RPCPath.Sessions.close, message, as: Portcullis_V1_CloseSessionResponse.self, isRepeatable: true,
        timeout: .seconds(2))
    }
    await closing.value
  }

  private static func deadline(sent: ContinuousClock.Instant, timeToLive: Duration) -> ContinuousClock.Instant {
    sent + timeToLive - margin(of: timeToLive)
  }

  /// What two clocks may differ by over one time to live, at a hundredth, and the time to act on it.
  private static func margin(of timeToLive: Duration) -> Duration { timeToLive / 100 + .milliseconds(50) }

  private func startRenewing() {
    let task = Task { await renewUntilOver() }
    state.withLockedValue { $0.renewal = task }
  }

  private func renewUntilOver() async {
    var pause = timeToLive / 3
    while !Task.isCancelled {
      // Sleeping past the deadline would tell of the loss late.
      let wake = min(ContinuousClock.now + pause, deadline)
      try? await Task.sleep(until: wake, clock: .continuous)
      if Task.isCancelled || ContinuousClock.now >= deadline { break }
      let sent = ContinuousClock.now
      switch await renew() {
      case .renewed(let timeLeft):
        show(.active, deadline: Self.deadline(sent: sent, timeToLive: timeLeft))
        pause = timeToLive / 3
      case .lost:
        return end(.endedByCluster)
      case .unanswered:
        // The attempt took a third of the time to live at most, and so did the wait for it.
        show(.jeopardy)
        pause = .milliseconds(100)
      }
    }
    end(.deadlinePassed)
  }

  private enum Renewal { case renewed(Duration), lost, unanswered }

  /// A stream with one request is on the wire what a call with one request is.
  private func renew() async -> Renewal {
    var request = Portcullis_V1_KeepSessionRequest()
    request.id = lease
    do {
      let response = try await portcullis.call(
        RPCPath.Sessions.keepAlive, request, as: Portcullis_V1_KeepSessionResponse.self, isRepeatable: true,
        timeout: timeToLive / 3)
      return response.timeLeftMs > 0 ? .renewed(.milliseconds(response.timeLeftMs)) : .lost
    } catch {
      if error.code == .notFound { return .lost }
      // A node that takes calls and answers none would keep them until the session is lost.
      if error.code == .deadlineExceeded { portcullis.moveOn() }
      return .unanswered
    }
  }

  private func show(_ shown: SessionState, deadline: ContinuousClock.Instant? = nil) {
    state.withLockedValue { state in
      guard !state.isOver else { return }
      if let deadline { state.deadline = deadline }
      guard state.shown != shown else { return }
      state.shown = shown
      for reader in state.readers.values { reader.yield(shown) }
    }
  }

  /// The first ending stays.
  private func end(_ ending: SessionEnding) {
    let (waiters, readers, renewal) = state.withLockedValue { state in
      if !state.isOver { state.shown = .lost(ending) }
      defer {
        state.waiters = [:]
        state.readers = [:]
        state.renewal = nil
      }
      return (Array(state.waiters.values), Array(state.readers.values), state.renewal)
    }
    renewal?.cancel()
    for waiter in waiters { waiter.resume() }
    for reader in readers {
      reader.yield(current)
      reader.finish()
    }
  }
}

extension SessionEnding: CustomStringConvertible {
  /// One clause for people.
  public var description: String {
    switch self {
    case .closed: "the session was closed"
    case .deadlinePassed: "no renewal was answered before the session's deadline"
    case .endedByCluster: "the cluster does not know the session any more"
    }
  }
}
