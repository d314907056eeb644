// Refusals as RFC 9457 problem details: what was seen, what was presented, what to do next.
//
// Must never name a path of the server's, and never answer a refusal with a status that a client would take for success.

import FencingCore
import Hummingbird
import Tokens

struct Problem: Error {
  let status: HTTPResponse.Status
  /// The last part of the type URI `urn:portcullis:problem:…`; clients branch on it, so it never changes.
  let type: String
  let title: String
  let detail: String
  let recovery: String
  var scope: String?
  var seen: Floor?
  var presented: FenceClaims?
  var retryAfterSeconds: Int?
  /// The rest of the request is not worth reading.
  var endsConnection = false

  var response: Response {
    Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }

  /// JSON.
  var body: [UInt8] {
    var json = JSONWriter()
    json.object { json in
      json.member("type", "urn:portcullis:problem:" + type)
      json.member("title", title)
      json.member("status", Int64(status.code))
      json.member("detail", detail)
      if let scope { json.member("scope", scope) }
      if let seen { json.member("seen") { $0.authority(seen) } }
      if let presented { json.member("presented") { $0.authority(presented.floor, scope: presented.scope) } }
      json.member("recovery", recovery)
    }
    return json.bytes
  }

  var headers: HTTPFields {
    var headers: HTTPFields = [.contentType: "application/problem+json"]
    // RFC 9110 section 15.5.2 wants a challenge with every 401.
    if status == .unauthorized { headers[.wwwAuthenticate] = #"Bearer realm="portcullis""# }
    if endsConnection { headers[.connection] = "close" }
    if let retryAfterSeconds { headers[.retryAfter] = String(retryAfterSeconds) }
    return headers
  }
}

extension Problem {
  static func badRequest(_ detail: String) -> Problem {
    Problem(
      status: .badRequest, type: "bad-request", title: "The request cannot be read", detail: detail,
      recovery: #"Send a JSON array of statements: ["SQL"], [["SQL ?", value]] or [["SQL :name", {"name": value}]]."#)
  }

  static func notFound(_ detail: String) -> Problem {
    Problem(
      status: .notFound, type: "not-found", title: "There is nothing here", detail: detail,
      recovery: "GET /status lists the databases of this gateway.")
  }

  static func methodNotAllowed(_ methods: [String]) -> Response {
    let list = Array(Set(methods)).sorted().joined(separator: ", ")
    var response = Problem(
      status: .methodNotAllowed, type: "method-not-allowed", title: "The path has other methods",
      detail: "It takes \(list).", recovery: "GET /openapi.json says what there is."
    ).response
    response.headers[.allow] = list
    return response
  }

  static func bodyTooLarge(limit: Int) -> Problem {
    Problem(
      status: .contentTooLarge, type: "body-too-large", title: "The body is too large",
      detail: "A body may have \(limit) bytes.", recovery: "Send fewer statements at once.", endsConnection: true)
  }

  static func notCurrent(_ claims: FenceClaims, _ standing: Standing) -> Problem {
    let holder = standing.current.map { "number \($0.number) is held by \"\($0.holder)\"" } ?? "nobody holds it"
    return Problem(
      status: .conflict, type: "not-current", title: "The core does not confirm the token",
      detail: "Of the scope \"\(claims.scope)\" the core says that \(holder).",
      recovery: "Stop acting on this grant. Acquire the scope again, read the data anew, then decide again.",
      scope: claims.scope, presented: claims)
  }

  static func coreUnreachable(scope: String) -> Problem {
    Problem(
      status: .serviceUnavailable, type: "core-unreachable", title: "The core cannot be asked",
      detail: "This database passes a write only after the core has confirmed its token, and the core does not answer.",
      recovery: "Send the request again once the core can be reached; nothing of it was done.", scope: scope,
      retryAfterSeconds: 1)
  }

  static func tokenRequired(scope: String) -> Problem {
    Problem(
      status: .unauthorized, type: "token-required", title: "A fencing token is required",
      detail: "Writes to this database need a token of the scope \"\(scope)\".",
      recovery: "Acquire the scope and send its token as Fencing-Token or as Authorization: Bearer.", scope: scope)
  }

  init(_ failure: VerificationFailure, scope: String) {
    switch failure {
    case .token(let error):
      let type: String
      switch error {
      case .expired: type = "expired-token"
      case .unknownKey: type = "unknown-key"
      default: type = "unverifiable-token"
      }
      self.init(
        status: .unauthorized, type: type, title: "The token cannot be verified", detail: error.description,
        recovery: "Acquire the scope again and send the token exactly as it was answered.", scope: scope)
    case .keysUnavailable:
      // Why is in the log: it may name addresses and files of this machine.
      self.init(
        status: .serviceUnavailable, type: "keys-unavailable", title: "The cluster's keys cannot be had",
        detail: "The token was not checked, because the core did not give the keys to check it with.",
        recovery: "Send the request again once the core can be reached.", scope: scope, retryAfterSeconds: 1)
    }
  }

  init(_ failure: RequestFailure, scope: String) {
    switch failure {
    case .refused(let refusal): self.init(refusal)
    case .tokenRequired(let scope): self = .tokenRequired(scope: scope)
    case .sharedToken(let scope):
      self.init(
        status: .forbidden, type: "shared-token", title: "A shared grant does not write",
        detail: "The token is of a holder that shares the scope \"\(scope)\" with others.",
        recovery: "Acquire the scope exclusively to write, or read under this token.", scope: scope)
    case .keyTaken(let key):
      self.init(
        status: .unprocessableContent, type: "key-taken", title: "The key belongs to another request",
        detail: "Another request was carried out under the Idempotency-Key \"\(key)\".",
        recovery: "Repeat a request exactly as it was, or give the new one a key of its own; nothing of it was done.",
        scope: scope)
    case .answerGone(let key):
      self.init(
        status: .gone, type: "answer-gone", title: "The answer is no longer kept",
        detail: "A request was carried out under the Idempotency-Key \"\(key)\"; its answer was dropped since.",
        recovery: "Read the data to see what it did. Do not send it under another key: it was done.", scope: scope)
    case .unloadable(let reason):
      self.init(
        status: .unprocessableContent, type: "unloadable", title: "This cannot be loaded", detail: reason,
        recovery: "Mend what the detail names and load it again; nothing of it was taken over.", scope: scope)
    case .scopeClosed(let scope):
      self.init(
        unavailable: "scope-closed", title: "The scope is closed",
        detail:
          "The file's floor of this scope disagrees with the copy of it that is kept outside, as after a restore.",
        recovery: "It opens by itself as soon as the gateway reaches the core and learns the current number.",
        scope: scope)
    case .ambiguousClaims(let scope):
      self.init(
        status: .unauthorized, type: "unverifiable-token", title: "The token cannot be verified",
        detail: "The request carries several tokens of the scope \"\(scope)\".", recovery: "Send one for each scope.",
        scope: scope)
    case .overloaded(let queued):
      self.init(
        unavailable: "overloaded", title: "Too many requests wait", detail: "\(queued) requests wait already.",
        recovery: "Send the request again later; nothing of it was done.", scope: scope)
    case .timedOut(let seconds):
      self.init(
        unavailable: "timed-out", title: "The request took too long",
        detail: "It ran longer than \(seconds) s and was undone.", recovery: "Split it into smaller requests.",
        scope: scope)
    case .busy(let reason):
      self.init(
        unavailable: "busy", title: "The database is in other hands",
        detail: "Another program holds the file's lock: \(reason).",
        recovery: "End the other program's transaction, then send the request again; nothing of it was done.",
        scope: scope)
    case .halted(let reason):
      self.init(
        unavailable: "halted", title: "The database takes no writes any more",
        detail: "Its file could not be written or read: \(reason). Whether the last write is there is unknown.",
        recovery: "Look after the disk, restart the gateway, and read back what was written last.", scope: scope)
    case .diskFull(let reason):
      self.init(
        unavailable: "disk-full", title: "The disk is full", detail: "There was no room: \(reason).",
        recovery: "Make room on the gateway's disk, then send the request again; nothing of it was done.",
        scope: scope)
    case .storage(let reason):
      self.init(
        status: .internalServerError, type: "storage", title: "The request was not carried out", detail: reason,
        recovery: "Nothing of it was done. See the gateway's log.", scope: scope)
    case .unopened(let error):
      if case .gatewayStopping = error {
        self = Problem(.closed, scope: scope)
        return
      }
      self.init(
        unavailable: "unopened", title: "The database cannot be opened",
        detail: "Its file cannot be put under protection at the moment.",
        recovery: "See the gateway's log for the reason; nothing of the request was done.", scope: scope)
    case .closed:
      self.init(
        unavailable: "stopping", title: "The gateway is stopping", detail: "It takes no further requests.",
        recovery: "Send the request again once it is back; nothing of it was done.", scope: scope)
    }
  }

  private init(unavailable type: String, title: String, detail: String, recovery: String, scope: String) {
    self.init(
      status: .serviceUnavailable, type: type, title: title, detail: detail, recovery: recovery, scope: scope,
      retryAfterSeconds: 1)
  }

  init(_ refusal: Refusal) {
    let scope: String
    let status: HTTPResponse.Status
    let type: String
    let title: String
    let detail: String
    let recovery: String
    let presented = refusal.presented
    switch refusal {
    case .stale(let seen, _):
      (status, type, title) = (.conflict, "stale-token", "The token is stale")
      detail = "Number \(presented.number) is below \(seen.number), which \"\(seen.holder)\" holds."
      recovery = "Stop acting on this grant. Acquire the scope again, read the data anew, then decide again."
      scope = presented.scope
    case .lowerIncarnation(let seen, _):
      (status, type, title) = (.conflict, "lower-incarnation", "The token is of an earlier incarnation")
      detail = "Incarnation \(presented.incarnation) is below \(seen.incarnation): the cluster was restored or re-made."
      recovery = "Stop acting on this grant. Acquire the scope again, read the data anew, then decide again."
      scope = presented.scope
    case .otherHolder(let seen, _):
      (status, type, title) = (.conflict, "other-holder", "The number belongs to another holder")
      detail = "Number \(presented.number) is held by \"\(seen.holder)\", the token names \"\(presented.holder)\"."
      recovery =
        "Acquire the scope under the holder's own name. If it was, the cluster gave one number twice: report it."
      scope = presented.scope
    case .otherCluster(let seen, _):
      (status, type, title) = (.forbidden, "other-cluster", "The token is of another cluster")
      detail =
        "The database is pinned to cluster \(ClusterText.format(seen.cluster)), the token is of "
        + "\(ClusterText.format(presented.cluster))."
      recovery =
        "Use a token of the pinned cluster. To move the database, an operator starts the gateway with that "
        + "cluster adopted for it."
      scope = presented.scope
    case .wrongScope(let bound, _):
      (status, type, title) = (.forbidden, "wrong-scope", "The token is of another scope")
      detail = "The database is bound to the scope \"\(bound)\", the token is of \"\(presented.scope)\"."
      recovery = "Acquire \"\(bound)\" and send its token."
      scope = bound
    }
    self.init(
      status: status, type: type, title: title, detail: detail, recovery: recovery, scope: scope, seen: refusal.seen,
      presented: presented)
  }
}
