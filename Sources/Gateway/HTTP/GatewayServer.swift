// The gateway as a whole: its databases and the HTTP server in front of them.
//
// Must never serve a part of what was declared: one database that cannot be opened stops the start. Invariant: the
// databases are closed after the last request has been answered, and before `run` returns.

import Glibc
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

package final class GatewayServer: Sendable {
  private let configuration: GatewayConfiguration
  private let databases: [FencedDatabase]
  private let verifier: TokenVerifier
  private let asking: AuthorityAsking
  private let raises: (any AuthorityRaises)?
  private let logger: Logger

  /// Opens the databases. Only when all of them are under protection is anything served.
  package init(
    configuration: GatewayConfiguration, keys: any AuthorityKeys, standings: (any AuthorityStandings)? = nil,
    raises: (any AuthorityRaises)? = nil, logger: Logger
  ) throws(GatewayError) {
    self.configuration = configuration
    self.logger = logger
    self.verifier = TokenVerifier(source: keys, limits: configuration.limits)
    self.raises = raises
    self.asking = AuthorityAsking(source: standings, logger: logger)
    try Self.check(configuration.databases)
    var opened: [FencedDatabase] = []
    for declaration in configuration.databases {
      do throws(OpenError) {
        opened.append(try FencedDatabase(declaration, limits: configuration.limits.engine, logger: logger))
      } catch {
        throw .open(database: declaration.name, error)
      }
    }
    self.databases = opened
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

  /// The database of this name, for use without HTTP.
  package func database(_ name: String) -> FencedDatabase? {
    databases.first { $0.declaration.name == name }
  }

  /// Serves until the task is cancelled, then lets running requests end. `onReady` gets the port.
  package func run(onReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in }) async throws {
    let routes = GatewayRoutes(
      databases: Dictionary(uniqueKeysWithValues: databases.map { ($0.declaration.name, $0) }),
      names: databases.map(\.declaration.name), verifier: verifier, asking: asking, limits: configuration.limits)
    let application = Application(
      router: routes.router(),
      configuration: ApplicationConfiguration(
        address: .hostname(configuration.host, port: configuration.port), serverName: nil),
      onServerRunning: { channel in await onReady(channel.localAddress?.port ?? 0) },
      logger: quietLogger)
    var group = ServiceGroupConfiguration(services: [application], logger: quietLogger)
    group.maximumGracefulShutdownDuration = .seconds(configuration.limits.shutdownSeconds)
    let services = ServiceGroup(configuration: group)
    // Cancelling the server's own task would cut answers in the middle. So it runs in a task of its own, and
    // cancellation of ours asks it to stop in order.
    let serving = Task { try await services.run() }
    let keeping = raises.map { RaiseKeeping(source: $0, verifier: verifier, logger: logger) }
    let guarding = Task { await keeping?.run(databases) }
    let result = await withTaskCancellationHandler {
      await serving.result
    } onCancel: {
      Task { await services.triggerGracefulShutdown() }
    }
    guarding.cancel()
    await guarding.value
    for database in databases { await database.close() }
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
