// Options that several commands take, and how their values are written.

import ArgumentParser
import Client
import Commands
import CoreNode
import Foundation
import Gateway
import Logging

struct ConnectionOptions: ParsableArguments {
  @Option(help: "Core nodes to talk to, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @Option(help: "The gateway to write through. Environment: PORTCULLIS_GATEWAY.")
  var gateway: String?

  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  func endpointList() throws -> [Endpoint] {
    let text = endpoints ?? Self.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379"
    do {
      return try Endpoint.list(parsing: text)
    } catch {
      throw ValidationError(error.description)
    }
  }

  func gatewayEndpoint() throws -> Endpoint {
    let text = gateway ?? Self.environment("PORTCULLIS_GATEWAY") ?? "127.0.0.1:4001"
    do {
      return try Endpoint(parsing: text, defaultPort: GatewayClient.defaultPort)
    } catch {
      throw ValidationError(error.description)
    }
  }

  func tlsOptions() throws -> TLSOptions { try tls.options(for: try endpointList() + [try gatewayEndpoint()]) }

  static func environment(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable { case text, json }

/// What every command that looks at a core takes.
struct LookOptions: ParsableArguments {
  @Option(help: "Core nodes to talk to, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  func endpointList() throws -> [Endpoint] {
    do {
      return try Endpoint.list(
        parsing: endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379")
    } catch {
      throw ValidationError(error.description)
    }
  }

  func tlsOptions() throws -> TLSOptions { try tls.options(for: try endpointList()) }

  /// Where keys to trust come from: a file or an address, or else the core nodes.
  func keySource(_ jwks: String?) throws -> KeySource {
    guard let jwks else { return .cluster(try endpointList(), try tlsOptions(), try user.credentials()) }
    return KeySource(fileOrAddress: jwks, tls: try tls.options(isSpoken: jwks.hasPrefix("https://")))
  }

  /// Runs `body` with the core, turning what goes wrong into one line and an exit code.
  func withClient<T>(_ body: (Portcullis) async throws -> T) async throws -> T {
    let client = Portcullis(
      endpoints: try endpointList(), tls: try tlsOptions(), credentials: try user.credentials())
    defer { client.close() }
    return try await Self.explaining { try await body(client) }
  }

  static func explaining<T>(_ body: () async throws -> T) async throws -> T {
    do {
      return try await body()
    } catch let error as ClientError {
      let code =
        switch error.code {
        case .unavailable, .untrusted: Commands.ExitCode.unavailable
        case .held, .sessionLost, .stale, .unconfirmed: Commands.ExitCode.notHeld
        default: Commands.ExitCode.failed
        }
      throw CommandFailure(code, error.description)
    }
  }

  /// Shows the same as text or as JSON.
  func show(_ json: some Encodable, text: @autoclosure () -> String) throws {
    announce(output == .json ? try JSONOutput.pretty(json) : text())
  }
}

/// Prints to stdout at once: who started us may be waiting for the line on a pipe, where `print` would hold it back.
func announce(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }

/// A length of time as people write it: `10s`, `500ms`, `2m`, `1h`, or plain seconds.
struct DurationArgument: ExpressibleByArgument, Sendable {
  let duration: Duration
  let defaultValueDescription: String

  init?(argument: String) {
    let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)]
    let digits = argument.prefix { $0.isNumber || $0 == "." }
    let unit = String(argument.dropFirst(digits.count))
    guard let amount = Double(digits), amount.isFinite,
      let factor = unit.isEmpty ? 1 : units.first(where: { $0.0 == unit })?.1, amount * factor < 1e9
    else { return nil }
    duration = .milliseconds(Int64((amount * factor * 1000).rounded()))
    defaultValueDescription = argument
  }
}

/// Where a server listens: `host:port`, with or without `http://` or `https://`; an empty host means every address.
struct ListenAddress: ExpressibleByArgument, Sendable {
  let host: String
  let port: Int
  let usesTLS: Bool
  let defaultValueDescription: String

  var scheme: String { usesTLS ? "https" : "http" }
  var url: ListenURL { ListenURL(host: host, port: port, usesTLS: usesTLS) }

  init?(argument: String) {
    let text = argument.hasPrefix(":") ? "0.0.0.0" + argument : argument
    guard let endpoint = try? Endpoint(parsing: text) else { return nil }
    host = endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host
    port = endpoint.port
    usesTLS = endpoint.usesTLS
    defaultValueDescription = argument
  }
}

/// A database under protection: `name=path`.
struct DatabaseArgument: ExpressibleByArgument, Sendable {
  let name: String
  let path: String

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
    name = String(parts[0])
    path = String(parts[1])
  }
}

enum LogLevelArgument: String, ExpressibleByArgument, CaseIterable, Sendable {
  case debug, info, warning, error

  /// etcd's other levels are taken for the nearest of these.
  init?(argument: String) {
    switch argument {
    case "warn": self = .warning
    case "dpanic", "panic", "fatal": self = .error
    default: self.init(rawValue: argument)
    }
  }

  var level: Logger.Level {
    switch self {
    case .debug: .debug
    case .info: .info
    case .warning: .warning
    case .error: .error
    }
  }
}

struct LogOptions: ParsableArguments {
  @Option(name: .customLong("log-level"), help: "Log to stderr from this level on: debug, info, warning, error.")
  var logLevel: LogLevelArgument = .warning

  func logger(_ label: String, to outputs: LogOutputs = LogOutputs(argument: "default")!) -> Logger {
    var logger = Logger(label: label) { outputs.handler(label: $0) }
    logger.logLevel = logLevel.level
    return logger
  }
}
