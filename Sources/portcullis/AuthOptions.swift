// How users of the core prove who they are: etcd's flags.

import ArgumentParser
import CoreNode
import Foundation

struct AuthOptions: ParsableArguments {
  @Option(
    name: .customLong("auth-token"),
    help: ArgumentHelp(
      "simple, or jwt,sign-method=ES256,priv-key=FILE,pub-key=FILE,ttl=10m: what users get for their password.",
      discussion: "The same on every node. A node with pub-key alone takes tokens and gives none."))
  var token = "simple"

  @Option(name: .customLong("auth-token-ttl"), help: "Seconds that a simple token is good for without being used.")
  var tokenLifetime: Int64 = 300

  @Option(
    name: .customLong("bcrypt-cost"),
    help: ArgumentHelp(
      "What a password's hash costs: from 4 to 31, each step twice the work.",
      discussion: "Hashes are scrypt's here, of 2^(cost + 5) rounds. More than 13 counts as 13, which takes 256 MiB."))
  var passwordCost = 10

  func validate() throws {
    guard tokenLifetime > 0, tokenLifetime <= 1_000_000_000 else {
      throw ValidationError("--auth-token-ttl is a number of seconds above 0")
    }
    guard (4...31).contains(passwordCost) else { throw ValidationError("--bcrypt-cost is from 4 to 31") }
    _ = try tokens()
  }

  func configuration() throws -> AuthConfiguration {
    var configuration = AuthConfiguration()
    configuration.tokens = try tokens()
    configuration.tokenLifetimeMilliseconds = tokenLifetime * 1000
    configuration.passwordCost = passwordCost
    return configuration
  }

  private func tokens() throws -> AuthConfiguration.Tokens {
    let parts = token.split(separator: ",", omittingEmptySubsequences: false)
    var options: [String: String] = [:]
    for part in parts.dropFirst() {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard pair.count == 2, options.updateValue(pair[1], forKey: pair[0]) == nil else {
        throw ValidationError("--auth-token: \"\(part)\" is not of the form option=value, or is there twice")
      }
    }
    switch parts.first {
    // etcd takes a simple token's options and does not look at them.
    case "simple": return .simple
    case "jwt": return .signed(try signed(options))
    default: throw ValidationError("--auth-token is \"simple\" or \"jwt,…\", not \"\(token)\"")
    }
  }

  private func signed(_ options: [String: String]) throws -> SignedTokens {
    var rest = options
    guard let method = rest.removeValue(forKey: "sign-method") else {
      throw ValidationError("--auth-token jwt needs sign-method=…, such as sign-method=ES256")
    }
    let time = rest.removeValue(forKey: "ttl") ?? "5m"
    guard let lifetime = GoDuration(argument: time) else {
      throw ValidationError("--auth-token: ttl is a time such as 10m, not \"\(time)\"")
    }
    let publicKey = try Self.file(rest.removeValue(forKey: "pub-key"))
    let privateKey = try Self.file(rest.removeValue(forKey: "priv-key"))
    if let unknown = rest.keys.min() {
      throw ValidationError("--auth-token jwt has no option \"\(unknown)\"; it has sign-method, priv-key, pub-key, ttl")
    }
    do throws(NodeError) {
      return try SignedTokens(
        method: method, publicKey: publicKey, privateKey: privateKey, lifetimeMilliseconds: lifetime.milliseconds)
    } catch {
      throw ValidationError(error.description)
    }
  }

  private static func file(_ path: String?) throws -> [UInt8]? {
    guard let path, !path.isEmpty else { return nil }
    do {
      return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw ValidationError("--auth-token: the key file \(path) cannot be read: \(error.localizedDescription)")
    }
  }
}
