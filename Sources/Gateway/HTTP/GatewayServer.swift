// The gateway as a whole: its databases and the HTTP server in front of them.
//
// Must never serve a part of what was declared: one database that cannot be opened stops the start. Invariant: the
// databases are closed after the last request has been answered, and before `run` returns.

import Glibc
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle
import Wire

package final class GatewayServer: Sendable {
  private let configuration: GatewayConfiguration
  private let shelf: DatabaseShelf
  private let authority: FenceAuthority
  private let asking: AuthorityAsking
  private let raises: (any AuthorityRaises)?
  /// Nil where plain text is spoken.
  private let acceptor: TLSAcceptor?
  private let logger: Logger

  /// Opens the databases, unless they are many. Only when all of them are under protection is anything served.
  package convenience init(
    configuration: GatewayConfiguration, keys: any AuthorityKeys, standings: (any AuthorityStandings)? = nil,
    raises: (any AuthorityRaises)? = nil, logger: Logger
  ) async throws(GatewayError) {
    let verifier = TokenVerifier(source: keys, limits: configuration.limits, logger: logger)
    try await self.init(
      configuration, .tokens(verifier), standings: standings, raises: raises, logger: logger)
  }

  /// On a plain etcd.
  package convenience init(
    configuration: GatewayConfiguration, locks: any AuthorityLocks, logger: Logger
  ) async throws(GatewayError) {
    let verifier = LockVerifier(source: locks, logger: logger)
    try await self.init(configuration, .locks(verifier), standings: verifier, raises: nil, logger: logger)
  }

  private init(
    _ configuration: GatewayConfiguration, _ authority: FenceAuthority, standings: (any AuthorityStandings)?,
    raises: (any AuthorityRaises)?, logger: Logger
  ) async throws(GatewayError) {
    self.configuration = configuration
    self.logger = logger
    try configuration.checkTransport()
    self.acceptor = try Self.acceptor(for: configuration, logger: logger)
    self.authority = authority
    self.raises = raises
    self.asking = AuthorityAsking(source: standings, logger: logger)
    try Self.check(configuration.databases)
    shelf = DatabaseShelf(configuration.databases, limits: configuration.limits, logger: logger)
    guard !shelf.isLazy else { return }
    for slot in shelf.slots {
      do throws(OpenError) {
        _ = try await slot.lease()
        slot.release()
      } catch {
        await shelf.end()
        throw .open(database: slot.declaration.name, error)
      }
    }
  }

  private static func acceptor(
    for configuration: GatewayConfiguration, logger: Logger
  ) throws(GatewayError) -> TLSAcceptor? {
    guard case .tls(let settings) = configuration.security else { return nil }
    var limits = WireLimits()
    limits.handshakeTimeout = .nanoseconds(Int64(configuration.limits.handshakeSeconds * 1e9))
    do throws(TLSError) {
      let source = try TLSSource(settings, .server, logger: logger)
      return TLSAcceptor(source, limits: limits, answersHTTP: true, logger: logger)
    } catch {
      throw .tls(error)
    }
  }

  private static func check(_ declarations: [DatabaseDeclaration]) throws(GatewayError) {
    var pathByName: [String: String] = [:]
    var nameByPath: [String: String] = [:]
    for declaration in declarations {
      guard isValid(name: declaration.name) else { throw .invalidName(declaration.name) }
      guard pathByName.updateValue(declaration.path, forKey: declaration.name) == nil else {
        throw .duplicateName(declaration.name)
      }
      if let other = nameByPath.updateValue(declaration.name, forKey: declaration.path) {
        throw .samePath(other, declaration.name)
      }
      try check(scopesOf: declaration)
    }
  }

  private static func check(scopesOf declaration: DatabaseDeclaration) throws(GatewayError) {
    var scopes: Set<String> = [declaration.scope]
    var tables: Set<String> = []
    for part in declaration.tableScopes {
      guard scopes.insert(part.scope).inserted else {
        throw .scopes(database: declaration.name, "the scope \"\(part.scope)\" is declared twice")
      }
      for table in part.tables where !tables.insert(table.lowercased()).inserted {
        throw .scopes(database: declaration.name, "the table \"\(table)\" is in two scopes")
      }
    }
  }

  /// A name stands in a path of the HTTP interface and, by default, for a scope.
  private static func isValid(name: String) -> Bool {
    let allowed = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
        return true
      default: return false
      }
    }
    // rqlite's own paths stand where a name would: /db/execute and its like.
    let isTaken = ["backup", "execute", "fence", "load", "query", "raise", "request"].contains(name)
    return allowed && !isTaken && (1...64).contains(name.utf8.count)
      && (name.first.map { $0.isLetter || $0.isNumber } ?? false)
  }

  /// Serves until the task is cancelled, then lets running requests end. `onReady` gets the port.
  package func run(onReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in }) async throws {
    let limits = configuration.limits
    let connections = OpenConnections(limit: limits.connections)
    let routes = GatewayRoutes(
      shelf: shelf, authority: authority, asking: asking, limits: limits, budget: RequestBudget(limits: limits),
      connections: connections, scheme: acceptor == nil ? "http" : "https")
    let application = Application(
      router: routes.router(),
      server: HTTPServerBuilder { [acceptor] responder in
        GatewayChannel(responder: responder, routes: routes, acceptor: acceptor)
      },
      configuration: ApplicationConfiguration(
        address: .hostname(configuration.host, port: configuration.port), serverName: nil),
      onServerRunning: { channel in await onReady(channel.localAddress?.port ?? 0) },
      logger: quietLogger)
    var group = ServiceGroupConfiguration(services: [application], logger: quietLogger)
    group.maximumGracefulShutdownDuration = .seconds(configuration.limits.shutdownSeconds)
    let services = ServiceGroup(configuration: group)
    let tidying = Task { [shelf, limits = configuration.limits] in
      while shelf.isLazy, (try? await Task.sleep(for: .seconds(min(1, limits.idleSeconds / 4)))) != nil {
        await shelf.tidy()
      }
    }
    // Cancelling the server's own task would cut answers in the middle. So it runs in a task of its own, and
    // cancellation of ours asks it to stop in order.
    let serving = Task { try await services.run() }
    let guarding = Task { [raises, authority, logger, shelf] in
      guard let raises, case .tokens(let verifier) = authority else { return }
      await RaiseKeeping(source: raises, verifier: verifier, logger: logger).run(shelf.slots)
    }
    let result = await withTaskCancellationHandler {
      await serving.result
    } onCancel: {
      Task { await services.triggerGracefulShutdown() }
    }
    guarding.cancel()
    await guarding.value
    tidying.cancel()
    await tidying.value
    await shelf.end()
    do {
      try result.get()
    } catch let error as IOError {
      throw GatewayError.listen(
        host: configuration.host, port: configuration.port, reason: String(cString: strerror(error.errnoCode)))
    }
  }

  /// The server's own notices of coming and going are nobody's concern.
  private var quietLogger: Logger {
    var logger = logger
    if logger.logLevel < .notice { logger.logLevel = max(logger.logLevel, .notice) }
    return logger
  }
}
