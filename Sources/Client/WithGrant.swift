// Work that is done only while a scope is held.

extension Portcullis {
  /// Acquires a scope, runs `body` while it is held, and releases it.
  ///
  ///     try await portcullis.withGrant(on: "orders") { grant in
  ///       try await gateway.execute("UPDATE …", token: grant.token)
  ///     }
  ///
  /// `body` is cancelled at the session's deadline, which is earlier than the instant at which anybody else can be granted
  /// the scope. What it does all the same after that (a task learns of its cancellation only where it looks) is for the
  /// fence to refuse: so let every write carry `grant.token`.
  /// - Parameters:
  ///   - holder: a name by which others can tell who holds the scope. Nil: host and process.
  ///   - timeToLive: how long the hold outlives this process when it dies; at least the server's minimum (2 s by default).
  ///   - wait: how long to queue when somebody else holds the scope.
  /// - Returns: what `body` returned, if the scope was held when it did.
  /// - Throws: `ClientError` with code `held` when the scope could not be had in time, and with `sessionLost` when it was
  ///   lost meanwhile, whatever `body` made of its cancellation; else what `body` throws.
  public func withGrant<Result: Sendable>(
    on scope: String, holder: String? = nil, timeToLive: Duration = .seconds(10), wait: Duration = .seconds(60),
    _ body: @escaping @Sendable (Grant) async throws -> Result
  ) async throws -> Result {
    try await withSession(timeToLive: timeToLive) { session in
      let grant = try await session.acquire(scope, holder: holder ?? HolderName.ofThisProcess, wait: wait)
      do {
        let result = try await session.whileAlive { try await body(grant) }
        try await session.release(grant)
        return result
      } catch let error as ClientError where error.code == .sessionLost {
        throw ClientError(
          .sessionLost, "\(scope) (number \(grant.number)) was lost while work was under way: \(error.description)",
          status: error.status)
      }
    }
  }

  /// Opens a session, runs `body`, and closes the session, which gives up everything that it holds.
  public func withSession<Result: Sendable>(
    timeToLive: Duration = .seconds(10), _ body: @escaping @Sendable (Session) async throws -> Result
  ) async throws -> Result {
    let session = try await Session.open(on: self, timeToLive: timeToLive)
    do {
      let result = try await body(session)
      await session.close()
      return result
    } catch {
      await session.close()
      throw error
    }
  }
}

extension Session {
  /// Runs `body` and cancels it when the session is over.
  /// - Throws: `ClientError` with code `sessionLost`, whatever `body` made of its cancellation; else what `body` throws.
  public func whileAlive<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        await self.waitUntilOver()
        return nil
      }
      defer { group.cancelAll() }
      do {
        let first = try await group.next()
        if case .some(.some(let result)) = first, isAlive { return result }
      } catch {
        if isAlive { throw error }
      }
      guard case .lost(let ending) = current else { throw CancellationError() }
      throw ClientError(.sessionLost, ending.description)
    }
  }
}
