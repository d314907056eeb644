// Work that is done only while scopes are held.

extension Portcullis {
  /// Acquires a scope, runs `body` while it is held, and releases it.
  ///
  ///     try await portcullis.withGrant(on: "orders") { grant in
  ///       try await gateway.execute("UPDATE …", token: grant.token)
  ///     }
  ///
  /// `body` is cancelled when the cluster says that the grant is over, and at the session's deadline, which is earlier than
  /// the instant at which anybody else can be granted the scope. What it does all the same after that (a task learns of its
  /// cancellation only where it looks) is for the fence to refuse: so let every write carry `grant.token`.
  /// - Parameters:
  ///   - holder: a name by which others can tell who holds the scope. Nil: host and process.
  ///   - timeToLive: how long the hold outlives this process when it dies; at least the server's minimum.
  ///   - wait: how long to stand in line when somebody else holds the scope.
  /// - Returns: what `body` returned, if the scope was held when it did.
  /// - Throws: `ClientError` with code `held` when the scope could not be had in time, and with `sessionLost` when it was
  ///   lost meanwhile, whatever `body` made of its cancellation: its `ending` says why. Else what `body` throws.
  public func withGrant<Result: Sendable>(
    on scope: String, holder: String? = nil, timeToLive: Duration = .seconds(10), wait: Duration = .seconds(60),
    _ body: @escaping @Sendable (Grant) async throws -> Result
  ) async throws -> Result {
    var request = GrantRequest(scope)
    request.wait = wait
    return try await withGrants(request, holder: holder, timeToLive: timeToLive) { try await body($0[0]) }
  }

  /// The same for everything that a request can ask for: several scopes, all or none, shared, with a lock-delay.
  public func withGrants<Result: Sendable>(
    _ request: GrantRequest, holder: String? = nil, timeToLive: Duration = .seconds(10),
    _ body: @escaping @Sendable ([Grant]) async throws -> Result
  ) async throws -> Result {
    try await withSession(holder: holder, timeToLive: timeToLive) { session in
      let grants = try await session.acquire(request)
      do {
        let result = try await session.whileHeld(grants) { try await body(grants) }
        for grant in grants { try await session.release(grant) }
        return result
      } catch let error as ClientError where error.code == .sessionLost {
        throw ClientError(
          .sessionLost,
          "\(request.label) (number \(grants[0].number)) was lost while work was under way: \(error.description)",
          status: error.status, ending: error.ending)
      }
    }
  }

  /// Opens a session, runs `body`, and closes the session, which gives up everything that it holds.
  public func withSession<Result: Sendable>(
    holder: String? = nil, timeToLive: Duration = .seconds(10),
    _ body: @escaping @Sendable (Session) async throws -> Result
  ) async throws -> Result {
    let session = try await Session.open(on: self, holder: holder, timeToLive: timeToLive)
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
  ) async throws -> Result { try await whileHeld([], body) }

  /// Runs `body` and cancels it when the session, or one of these grants, is over.
  /// - Throws: `ClientError` with code `sessionLost` and the `ending`, whatever `body` made of its cancellation; else what
  ///   `body` throws.
  public func whileHeld<Result: Sendable>(
    _ grants: [Grant], _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    try await withThrowingTaskGroup(of: Held<Result>.self) { group in
      group.addTask { .done(try await body()) }
      for grant in grants { group.addTask { .ended(await self.waitUntilLost(grant)) } }
      if grants.isEmpty {
        group.addTask {
          await self.waitUntilOver()
          return .ended(nil)
        }
      }
      defer { group.cancelAll() }
      var ending: AuthorityEnding?
      do {
        switch try await group.next() {
        case .done(let result) where isAlive: return result
        case .ended(let told): ending = told
        case .done, nil: break
        }
      } catch {
        if isAlive { throw error }
      }
      if ending == nil, case .lost(let lost) = current { ending = .session(lost) }
      guard let ending else { throw CancellationError() }
      throw ClientError(.sessionLost, ending.description, ending: ending)
    }
  }
}

private enum Held<Result: Sendable>: Sendable {
  case done(Result)
  case ended(AuthorityEnding?)
}
