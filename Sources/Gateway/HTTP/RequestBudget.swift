// What all requests hold together: how many there are, and how many bytes of their bodies.
//
// Must never keep what a request was given: a share goes back with the last reference to it, whatever became of the
// request.

import Hummingbird
import Synchronization

final class RequestBudget: Sendable {
  private let requests = Atomic<Int>(0)
  private let bytes = Atomic<Int>(0)
  private let turnedAwayCount = Atomic<UInt64>(0)
  private let limits: GatewayLimits

  init(limits: GatewayLimits) { self.limits = limits }

  var open: Int { requests.load(ordering: .relaxed) }
  var turnedAway: UInt64 { turnedAwayCount.load(ordering: .relaxed) }

  /// Lets a request in, or says that there are too many.
  func admit() throws(Problem) -> RequestShare {
    let count = requests.add(1, ordering: .relaxed).newValue
    let share = RequestShare(self)
    guard count <= limits.requests else {
      turnedAwayCount.add(1, ordering: .relaxed)
      throw .overloaded("\(limits.requests) requests are being answered, the most that there may be.")
    }
    return share
  }

  fileprivate func hold(_ count: Int) throws(Problem) {
    let all = bytes.add(count, ordering: .relaxed).newValue
    guard all <= limits.bodyBytesInAll else {
      bytes.subtract(count, ordering: .relaxed)
      turnedAwayCount.add(1, ordering: .relaxed)
      throw .overloaded("The bodies of the requests that are being read take all the room that there is for them.")
    }
  }

  fileprivate func release(bytes count: Int) {
    requests.subtract(1, ordering: .relaxed)
    bytes.subtract(count, ordering: .relaxed)
  }
}

/// One request's share.
final class RequestShare: Sendable {
  private let budget: RequestBudget
  private let held = Atomic<Int>(0)

  fileprivate init(_ budget: RequestBudget) { self.budget = budget }

  deinit { budget.release(bytes: held.load(ordering: .relaxed)) }

  func hold(_ count: Int) throws(Problem) {
    try budget.hold(count)
    held.add(count, ordering: .relaxed)
  }
}

/// Lets requests to databases in while there is room. Those about the gateway itself always come in: whoever watches over
/// it must see that it is full.
struct AdmissionMiddleware: RouterMiddleware {
  typealias Context = GatewayContext

  let budget: RequestBudget

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    guard request.uri.path.hasPrefix("/db") else { return try await next(request, context) }
    let share = try budget.admit()
    var context = context
    context.share = share
    var response = try await next(request, context)
    // An answer that is sent as it comes is open until its end.
    if response.body.contentLength == nil {
      let body = response.body
      response.body = ResponseBody { writer in
        _ = share
        try await body.write(writer)
      }
    }
    return response
  }
}

extension Problem {
  static func overloaded(_ detail: String) -> Problem {
    Problem(
      status: .serviceUnavailable, type: "overloaded", title: "The gateway is full", detail: detail,
      recovery: "Send the request again later; nothing of it was done.", retryAfterSeconds: 1)
  }
}
