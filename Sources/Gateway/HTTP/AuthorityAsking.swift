// Asking the core: about each write where a database wants that, and about scopes that are closed.
//
// Must never pass a write on an answer that is older than the request. Closed scopes are asked about at a bounded rate.

import FencingCore
import Logging
import Synchronization

final class AuthorityAsking: Sendable {
  private let source: (any AuthorityStandings)?
  private let logger: Logger
  private let askedAt = Mutex<[String: UInt64]>([:])

  init(source: (any AuthorityStandings)?, logger: Logger) {
    self.source = source
    self.logger = logger
  }

  /// Returns when the core has confirmed, after it was asked now, that every one of the claims is what it is.
  func confirm(_ claims: [FenceClaims]) async throws(Problem) {
    for claims in claims {
      guard let standing = await standing(of: claims.scope) else { throw .coreUnreachable(scope: claims.scope) }
      guard standing.confirms(claims) else { throw .notCurrent(claims, standing) }
    }
  }

  /// Tries to open a closed scope; answers whether it is worth trying the request again.
  func open(_ scope: String, of database: FencedDatabase) async -> Bool {
    let now = MonotonicClock.nanoseconds
    let key = database.declaration.name + "/" + scope
    let mayAsk = askedAt.withLock { askedAt in
      if let last = askedAt[key], now < last + 1_000_000_000 { return false }
      askedAt[key] = now
      return true
    }
    guard mayAsk, let standing = await standing(of: scope) else { return false }
    do throws(RequestFailure) {
      let floor = try await database.seed(standing.seed(of: scope))
      logger.notice(
        "a closed scope was opened by the core's word",
        metadata: ["database": "\(database.declaration.name)", "scope": "\(scope)", "floor": "\(floor)"])
      return true
    } catch {
      logger.error(
        "a closed scope stays closed",
        metadata: ["database": "\(database.declaration.name)", "scope": "\(scope)", "why": "\(error)"])
      return false
    }
  }

  private func standing(of scope: String) async -> Standing? {
    do {
      return try await source?.standing(of: scope)
    } catch {
      logger.warning("the core could not be asked", metadata: ["scope": "\(scope)", "why": "\(error)"])
      return nil
    }
  }
}
