// The headers that open a call, read once.

package import NIOCore
import NIOHPACK

package struct RequestHead {
  var path = ""
  var deadline: NIODeadline?
  /// Whether there is a header whose name begins with `portcullis-`, or `fence`: most calls have none, and need not look for them.
  var hasOwnMetadata = false
  /// Whether the caller wants to be refused where there is no leader: etcd's metadata `hasleader: true`.
  var requiresLeader = false
  /// Whether there is a header by which a caller may say who it is: most have none.
  var hasCredentials = false
  /// Of messages that are compressed.
  var encoding = MessageEncoding.identity
  var headers: HPACKHeaders

  /// Why the request is no gRPC call.
  enum Refusal {
    /// It names no path.
    case badRequest
    /// Another method, or another content: a request of plain HTTP.
    case noCall
  }

  /// The HTTP/2 library does not check header blocks here, to save the time; what matters of them is checked in this
  /// one pass.
  static func read(_ headers: HPACKHeaders, now: () -> NIODeadline) -> Result<RequestHead, Rejection> {
    var head = RequestHead(headers: headers)
    var isPost = false
    var isGRPC = false
    for (name, value, _) in headers {
      switch name {
      case ":path": head.path = value
      case ":method": isPost = value == "POST"
      case "content-type": isGRPC = value == "application/grpc" || Self.isGRPC(value)
      case "grpc-timeout":
        guard let timeout = Self.timeout(value) else { return .failure(.malformedTimeout(value)) }
        head.deadline = now() + timeout
      case "grpc-encoding": head.encoding = MessageEncoding(value)
      case "hasleader": head.requiresLeader = value == "true"
      case "token", "authorization": head.hasCredentials = true
      case "fence": head.hasOwnMetadata = true
      default: if name.utf8.count > 11, name.hasPrefix("portcullis-") { head.hasOwnMetadata = true }
      }
    }
    guard !head.path.isEmpty else { return .failure(.http(.badRequest)) }
    guard isPost, isGRPC else { return .failure(.http(.noCall)) }
    return .success(head)
  }

  enum Rejection: Error {
    case http(Refusal)
    case malformedTimeout(String)
  }

  /// `application/grpc`, `application/grpc+proto` and parameters after either. Messages in any other form than
  /// protobuf cannot be read.
  private static func isGRPC(_ contentType: String) -> Bool {
    let form = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
    return form == "application/grpc" || form == "application/grpc+proto"
  }

  /// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
  package static func timeout(_ value: String) -> TimeAmount? {
    guard let unit = value.utf8.last else { return nil }
    let digits = value.utf8.dropLast()
    guard !digits.isEmpty, digits.count <= 8 else { return nil }
    var count: Int64 = 0
    for digit in digits {
      guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
      count = count * 10 + Int64(digit - UInt8(ascii: "0"))
    }
    switch unit {
    // Eight digits of hours overflow nanoseconds; nobody can tell a hundred years from for ever.
    case UInt8(ascii: "H"): return .hours(min(count, 876_000))
    case UInt8(ascii: "M"): return .minutes(min(count, 52_560_000))
    case UInt8(ascii: "S"): return .seconds(count)
    case UInt8(ascii: "m"): return .milliseconds(count)
    case UInt8(ascii: "u"): return .microseconds(count)
    case UInt8(ascii: "n"): return .nanoseconds(count)
    default: return nil
    }
  }

  /// The same for sending: the finest unit that eight digits hold, rounded up so that the peer never gives up first.
  package static func timeout(_ amount: TimeAmount) -> String {
    let nanoseconds = max(amount.nanoseconds, 0)
    let limit: Int64 = 99_999_999
    let units: [(divisor: Int64, name: String)] = [
      (1, "n"), (1_000, "u"), (1_000_000, "m"), (1_000_000_000, "S"), (60_000_000_000, "M"),
    ]
    for (divisor, name) in units {
      let count = nanoseconds / divisor + (nanoseconds % divisor == 0 ? 0 : 1)
      if count <= limit { return "\(count)\(name)" }
    }
    return "\(min(nanoseconds / 3_600_000_000_000 + 1, limit))H"
  }
}
