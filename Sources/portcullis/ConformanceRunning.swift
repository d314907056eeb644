// Flags of `conformance` for a core and a gateway that run already.

import ArgumentParser
import Client
import Commands
import Conformance

/// Where they are.
struct RunningPlace: Sendable {
  let core: [Endpoint]
  let gateway: Endpoint
  let database: String
  let openDatabase: String?
  let access: RunningSystem.Access
}

struct RunningFlags: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Play with a core that runs already, and stop none of its nodes. All of them, with commas.",
      valueName: "host:port"))
  var core: String?

  @Option(help: ArgumentHelp("A gateway of that core.", valueName: "host:port"))
  var gateway: String?

  @Option(
    help: "A protected database of that gateway which is for this alone. Tables of the run's own are made and dropped.")
  var database: String?

  @Option(
    name: .customLong("open-database"),
    help: "A database of that gateway which is open: for the negative controls, of which there are none otherwise.")
  var openDatabase: String?

  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  var isGiven: Bool { core != nil || gateway != nil || database != nil || openDatabase != nil }

  func validate() throws {
    guard isGiven else {
      let access = [tls.trustedCA, tls.certificate, tls.key, user.user, user.password]
      guard access.allSatisfy({ $0 == nil }), !tls.skipsVerification else {
        throw ValidationError(
          "certificates and users are for servers that run already: give --core, --gateway and --database")
      }
      return
    }
    guard core != nil, gateway != nil, database != nil else {
      throw ValidationError("--core, --gateway and --database go together")
    }
  }

  /// Nil where none is given.
  func place() throws -> RunningPlace? {
    guard let core, let gateway, let database else { return nil }
    do {
      let nodes = try Endpoint.list(parsing: core)
      let endpoint = try Endpoint(parsing: gateway, defaultPort: GatewayClient.defaultPort)
      let (options, credentials) = (try tls.options(for: nodes + [endpoint]), try user.credentials())
      let access = RunningSystem.Access(
        tls: options, credentials: credentials,
        environment: options.environment.merging(credentials?.environment ?? [:]) { $1 })
      return RunningPlace(
        core: nodes, gateway: endpoint, database: database, openDatabase: openDatabase, access: access)
    } catch let error as ClientError {
      throw ValidationError(error.description)
    }
  }
}
