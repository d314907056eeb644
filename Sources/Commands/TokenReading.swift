// `portcullis token`: what a token says, and whether it is to be believed.
//
// Must never say what an unverified token claims without saying that it is unverified.

package import Client
import Foundation
import Tokens

/// A token taken apart and not verified.
package struct TokenContents: Encodable {
  package let verified = false
  package let header: [String: TokenClaim]
  package let claims: [String: TokenClaim]
  /// Why no verifier of ours would take it, whoever signed it; nil where its form is right.
  package let problem: String?

  private enum CodingKeys: String, CodingKey { case verified, header, claims, problem }

  /// - Throws: `CommandFailure` for what is no token at all.
  package init(_ token: String) throws(CommandFailure) {
    let sections = token.split(separator: ".", omittingEmptySubsequences: false)
    guard sections.count == 3, let header = Self.object(sections[0]), let claims = Self.object(sections[1]) else {
      throw CommandFailure(
        ExitCode.failed,
        "this is no token: a token is three sections of base64url, of which the first two are JSON objects")
    }
    self.header = header
    self.claims = claims
    do throws(TokenError) {
      let parts = try TokenText.split(token)
      _ = try TokenText.claims(payload: parts.payload, kid: parts.kid)
      problem = nil
    } catch {
      problem = error.description
    }
  }

  private static func object(_ section: Substring) -> [String: TokenClaim]? {
    guard let bytes = Base64URL.decode(section.utf8),
      case .object(let members)? = try? StrictJSON.parse(bytes)
    else { return nil }
    return members.reduce(into: [:]) { $0[$1.name] = TokenClaim($1.value) }
  }

  package var text: String {
    var lines = ["NOT VERIFIED: anybody can write this. `portcullis token verify` says whether a cluster did."]
    if let problem { lines.append("No verifier takes it: \(problem)") }
    for (title, members) in [("header", header), ("claims", claims)] {
      lines.append(title)
      for (name, claim) in members.sorted(by: { $0.key < $1.key }) {
        let width = String(repeating: " ", count: max(1, 13 - name.count))
        lines.append("  \(TerminalText.clean(name))\(width)\(TerminalText.clean(claim.text))\(claim.instant(name))")
      }
    }
    return lines.joined(separator: "\n")
  }
}

/// A member of a token's JSON.
package struct TokenClaim: Encodable {
  private let value: JSONValue

  fileprivate init(_ value: JSONValue) { self.value = value }

  fileprivate var text: String {
    switch value {
    case .string(let text): text
    case .integer(let number): "\(number)"
    case .real(let number): "\(number)"
    case .bool(let flag): "\(flag)"
    case .null: "null"
    case .array, .object: (try? JSONOutput.line(self)) ?? ""
    }
  }

  /// Seconds since 1970, as people read them.
  fileprivate func instant(_ name: String) -> String {
    guard ["iat", "exp", "nbf"].contains(name), let seconds = value.integer else { return "" }
    return "  (\(TokenReport.instant(seconds)))"
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch value {
    case .null: try container.encodeNil()
    case .bool(let flag): try container.encode(flag)
    case .integer(let number): try container.encode(number)
    case .real(let number): try container.encode(number)
    case .string(let text): try container.encode(text)
    case .array(let values): try container.encode(values.map(TokenClaim.init))
    case .object(let members):
      try container.encode(members.reduce(into: [String: TokenClaim]()) { $0[$1.name] = TokenClaim($1.value) })
    }
  }
}

/// A token whose signature, form and time were found good.
package struct TokenReport: Encodable {
  package let verified = true
  package let scope: String
  package let number: Int64
  package let incarnation: Int64
  package let cluster: String
  package let holder: String
  /// Whether it lets its holder read alone.
  package let isShared: Bool
  package let issuedAt: String
  package let expiresAt: String
  package let key: String

  private enum CodingKeys: String, CodingKey {
    case verified, scope, number, incarnation, cluster, holder, isShared, issuedAt, expiresAt, key
  }

  /// Verifies a token.
  /// - Parameters:
  ///   - jwks: the keys to trust.
  ///   - scope: which it must be of; nil for any.
  /// - Throws: `CommandFailure` with `ExitCode.refused` for a token that is not taken, and with `ExitCode.failed` for keys
  ///   that are none.
  package init(verifying token: String, jwks: String, scope: String?) throws(CommandFailure) {
    let keys: KeySet
    do throws(TokenError) { keys = try KeySet(jwks: jwks) } catch {
      throw CommandFailure(ExitCode.failed, "the key set cannot be used. \(error)")
    }
    let token = token.trimmingCharacters(in: .whitespacesAndNewlines)
    let verified: VerifiedToken
    do throws(TokenError) {
      verified = try keys.verifiedToken(token, nowSeconds: Int64(Date().timeIntervalSince1970))
    } catch {
      throw CommandFailure(ExitCode.refused, "refused. \(error)")
    }
    let claims = verified.claims
    if let scope, scope != claims.scope {
      throw CommandFailure(
        ExitCode.refused, "refused. The token is of the scope \"\(claims.scope)\", not \"\(scope)\".")
    }
    self.scope = claims.scope
    number = claims.number.rawValue
    incarnation = claims.incarnation.rawValue
    cluster = verified.clusterText
    holder = claims.holder
    isShared = claims.isShared
    issuedAt = Self.instant(verified.issuedAtSeconds)
    expiresAt = Self.instant(verified.expiresAtSeconds)
    key = verified.kid
  }

  package var text: String {
    """
    verified: a node of the cluster signed this grant. Whether a newer one was made since, only a fence can say.
      scope        \(TerminalText.clean(scope))\(isShared ? " (shared: for reading)" : "")
      number       \(number)
      incarnation  \(incarnation)
      cluster      \(cluster)
      holder       \(TerminalText.clean(holder))
      issued       \(issuedAt)
      expires      \(expiresAt)
      key          \(key)
    """
  }

  static func instant(_ seconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
  }
}

/// Where the keys to trust come from.
package enum KeySource: Sendable {
  case file(String)
  case address(String, TLSOptions)
  case cluster([Endpoint], TLSOptions, Credentials?)

  /// - Parameter tls: how TLS is spoken with an address, if it is one.
  package init(fileOrAddress text: String, tls: TLSOptions) {
    self = text.hasPrefix("http://") || text.hasPrefix("https://") ? .address(text, tls) : .file(text)
  }

  /// - Throws: `CommandFailure` with `ExitCode.unavailable` when they cannot be had.
  package func jwks() async throws(CommandFailure) -> String {
    do {
      switch self {
      case .file(let path): return try String(contentsOfFile: path, encoding: .utf8)
      case .address(let url, let tls): return try await KeySetDownload.fetch(url, tls: tls)
      case .cluster(let endpoints, let tls, let credentials):
        let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
        defer { client.close() }
        return try await client.keys()
      }
    } catch let error as ClientError {
      throw CommandFailure(ExitCode.unavailable, error.description)
    } catch {
      throw CommandFailure(ExitCode.unavailable, "the key set cannot be read: \(error.localizedDescription)")
    }
  }
}
