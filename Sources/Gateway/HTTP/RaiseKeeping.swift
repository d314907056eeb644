// Keeps the gateway registered at the core, and makes the raises that the core asks for durable: fence before grant.
//
// Must never confirm a raise that is not on disk, or take one on the core's bare word: each comes as a token, and is checked
// like a writer's. Invariant: a file registers under the identity that it carries, so a gateway that moves takes it along.

import FencingCore
import Logging

/// Where raises come from.
package protocol AuthorityRaises: Sendable {
  /// Registers a gateway for these scopes and calls `raise` with the token of each raise that is to be made. A raise is
  /// confirmed when `raise` returns true, and tried again for a while when it returns false.
  ///
  /// Returns, or throws, when the connection to the core is over; what is not confirmed by then comes again.
  func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (_ token: String) async -> Bool
  ) async throws
}

struct RaiseKeeping: Sendable {
  let source: any AuthorityRaises
  let verifier: TokenVerifier
  let logger: Logger

  /// Runs until the task is cancelled.
  func run(_ slots: [DatabaseSlot]) async {
    await withDiscardingTaskGroup { group in
      for slot in slots { group.addTask { await keep(slot) } }
    }
  }

  private func keep(_ slot: DatabaseSlot) async {
    var pause = Duration.milliseconds(100)
    while !Task.isCancelled {
      do {
        // An open database has no fence before its first token; it is asked again.
        guard let identity = try await identity(in: slot) else {
          try await Task.sleep(for: .seconds(1))
          continue
        }
        let name = "\(slot.declaration.name)@\(identity)"
        let began = ContinuousClock.now
        try await source.protect(name, scopes: ScopeMap(slot.declaration).all) { await raise($0, in: slot) }
        if ContinuousClock.now - began > .seconds(5) { pause = .milliseconds(100) }
      } catch {
        if Task.isCancelled { return }
        logger.warning(
          "the gateway is not registered at the core, so grants of its scopes wait",
          metadata: ["database": "\(slot.declaration.name)", "why": "\(error)"])
      }
      try? await Task.sleep(for: pause)
      pause = min(pause * 2, .seconds(2))
    }
  }

  private func identity(in slot: DatabaseSlot) async throws -> String? {
    let database = try await slot.lease()
    defer { slot.release() }
    return try await database.identity()
  }

  private func raise(_ token: String, in slot: DatabaseSlot) async -> Bool {
    let name = slot.declaration.name
    do {
      let claims = try await verifier.verify(token)
      let database = try await slot.lease()
      defer { slot.release() }
      return try await raise(claims, of: database)
    } catch {
      logger.error("a raise was not made", metadata: ["database": "\(name)", "why": "\(error)"])
      return false
    }
  }

  private func raise(_ claims: FenceClaims, of database: FencedDatabase) async throws -> Bool {
    let failure: RequestFailure
    do throws(RequestFailure) {
      try await database.raise(claims)
      return true
    } catch {
      failure = error
    }
    switch failure {
    case .refused(let refusal):
      // Where the floor is as high or higher, it was raised before.
      if refusal.isBelowFloor { return true }
    case .scopeClosed:
      // The core's own word is what such a scope waits for.
      let floor = try await database.seed(claims)
      logger.notice(
        "a closed scope was opened by the core's word",
        metadata: ["database": "\(database.declaration.name)", "scope": "\(claims.scope)", "floor": "\(floor)"])
      return true
    default: break
    }
    throw failure
  }
}
