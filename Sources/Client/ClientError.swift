// Why the client could not do what it was asked: what was tried, what was seen, what to do.

package import Wire

/// Why a call of the client failed.
public struct ClientError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure it is. More may be added: handle the ones that you know, and treat others as `failed`.
  public struct Code: Sendable, Hashable {
    private let name: String

    /// An endpoint or an option makes no sense.
    public static let invalidArgument = Code(name: "invalid argument")
    /// No endpoint could be reached, or none has a leader.
    public static let unavailable = Code(name: "unavailable")
    /// The two ends could not agree on TLS: a certificate is not trusted, is for another host, has expired or is missing, or
    /// one of the two does not speak TLS at all. The description says which. Trying again leads nowhere.
    public static let untrusted = Code(name: "untrusted")
    /// The scope is held by somebody else.
    public static let held = Code(name: "held")
    /// The session ended: its deadline passed, or the cluster said so.
    public static let sessionLost = Code(name: "session lost")
    /// A gateway that protects the scope did not confirm that it refuses older grants: see `refusal`.
    public static let unconfirmed = Code(name: "unconfirmed")
    /// The grant that the call leans on is not current any more. Nothing was done.
    public static let stale = Code(name: "stale")
    /// The gateway refused the token.
    public static let refused = Code(name: "refused")
    /// The calling task was cancelled.
    public static let cancelled = Code(name: "cancelled")
    /// Anything else that the server said.
    public static let failed = Code(name: "failed")
  }

  /// The kind of failure, to branch on.
  public let code: Code
  /// One line for people: what was tried, what was seen, what to do.
  public let description: String
  /// Why authority ended, with the code `sessionLost`; nil with all others.
  public let ending: AuthorityEnding?
  /// What stands in the way, with the codes `held` and `unconfirmed`.
  public let refusal: Refusal?
  /// The gRPC status behind it, where there was one.
  package let status: RPCStatus?

  package init(
    _ code: Code, _ description: String, status: RPCStatus? = nil, ending: AuthorityEnding? = nil,
    refusal: Refusal? = nil
  ) {
    self.code = code
    self.description = description
    self.status = status
    self.ending = ending
    self.refusal = refusal
  }

  init(_ status: RPCStatus, during what: String) {
    let code: Code =
      switch status.code {
      case _ where status.isTLSFailure: .untrusted
      case .unavailable, .deadlineExceeded: .unavailable
      case .invalidArgument: .invalidArgument
      case .notFound: .sessionLost
      case .cancelled: .cancelled
      case .failedPrecondition where status.trailer("portcullis-number") != nil: .stale
      default: .failed
      }
    var text = "\(what): \(status.message.isEmpty ? "\(status.code)" : status.message)"
    if status.isCertainlyNotApplied { text += " (not applied)" }
    if status.isOutcomeUnknown { text += " (it may have been applied or may yet be)" }
    self.init(code, text, status: status, ending: code == .sessionLost ? .session(.endedByCluster) : nil)
  }
}
