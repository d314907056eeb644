// Reads what stands around a request's statements: how the answer is to be written, and the token.

import Hummingbird

/// How an answer is to be written.
struct AnswerForm {
  let hasTimings: Bool
  let isPretty: Bool
  let isAssociative: Bool
  let blobsAsArrays: Bool

  init(_ query: QueryItems) {
    hasTimings = query.has("timings")
    isPretty = query.has("pretty")
    isAssociative = query.has("associative")
    blobsAsArrays = query.has("blob_array")
  }
}

enum TokenReading {
  private static let bearer = "bearer "

  /// The token's text, from `Fencing-Token` or `Authorization: Bearer`. Two different ones are refused: whoever
  /// checked one of them on the way may have checked the other.
  static func token(in headers: HTTPFields, scope: String) throws(Problem) -> String? {
    var tokens: Set<String> = []
    for field in headers[values: .fencingToken] { tokens.insert(field) }
    for field in headers[values: .authorization] where field.lowercased().hasPrefix(bearer) {
      tokens.insert(String(field.dropFirst(bearer.count)))
    }
    guard tokens.count <= 1 else {
      throw Problem(
        status: .unauthorized, type: "unverifiable-token", title: "The token cannot be verified",
        detail: "The request carries different tokens.", recovery: "Send one token.", scope: scope)
    }
    return tokens.first
  }
}
