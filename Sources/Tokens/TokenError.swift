// Why a token or a key set was not taken. Must never carry key material or a whole token: errors are logged.

package enum TokenError: Error, Sendable, Hashable, CustomStringConvertible {
  case tooLong(bytes: Int, limit: Int)
  case malformed(String)
  case wrongHeader(String)
  case unknownKey(kid: String, known: [String])
  case badSignature(kid: String)
  /// The key's node was removed, or has another key, and the grant is newer than that.
  case keyIsRetired(kid: String, last: String, presented: String)
  case wrongClaim(name: String, problem: String)
  case expired(atSeconds: Int64, nowSeconds: Int64)
  case invalidKey(String)
  case signingFailed(String)

  package var description: String {
    switch self {
    case .tooLong(let bytes, let limit):
      return "The token has \(bytes) bytes, the limit is \(limit)."
    case .malformed(let problem):
      return "The token is malformed: \(problem)."
    case .wrongHeader(let problem):
      return "The token's header is refused: \(problem). Only alg EdDSA with typ JWT and a kid is taken."
    case .unknownKey(let kid, let known):
      let list = known.isEmpty ? "none" : known.joined(separator: ", ")
      return "The token is signed with the key \"\(kid)\", which is not in the key set (known: \(list))."
    case .badSignature(let kid):
      return "The token's signature does not match the key \"\(kid)\"."
    case .keyIsRetired(let kid, let last, let presented):
      return
        "The key \"\(kid)\" vouches for nothing above \(last), and the token says \(presented): its node was removed"
        + " or has another key by now. Acquire again."
    case .wrongClaim(let name, let problem):
      return "The token's claim \"\(name)\" is refused: \(problem)."
    case .expired(let atSeconds, let nowSeconds):
      return "The token expired at \(atSeconds), and it is \(nowSeconds) now (seconds since 1970)."
    case .invalidKey(let problem):
      return "The key is refused: \(problem)."
    case .signingFailed(let problem):
      return "The token could not be signed: \(problem)."
    }
  }
}
