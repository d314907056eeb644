// gRPC's standard health service. A node serves while it knows a leader; only the server as a whole, whose name is empty,
// is known, as with etcd.

import NIOCore
import Protocol
import Wire

struct HealthService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Health.check: .unary(check),
      RPCPath.Health.watch: .streaming { [core] call in HealthStream(call, publication: core.publication) },
    ]
  }

  @Sendable private func check(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Grpc_Health_V1_HealthCheckRequest.self, from: body) else { return }
    guard message.service.isEmpty else { return call.fail(RPCStatus(code: .notFound, message: "unknown service")) }
    call.respond(Self.response(isServing: core.publication.snapshot.leader != nil))
  }

  fileprivate static func response(isServing: Bool) -> Grpc_Health_V1_HealthCheckResponse {
    var response = Grpc_Health_V1_HealthCheckResponse()
    response.status = isServing ? .serving : .notServing
    return response
  }
}

/// Says how things stand, and again whenever that changes. `@unchecked Sendable`: used on the call's event loop alone.
private final class HealthStream: @unchecked Sendable, StreamHandler {
  private let call: StreamCall
  private let publication: Publication
  private var observer: Publication.ObserverID?
  private var said: Bool?

  init(_ call: StreamCall, publication: Publication) {
    self.call = call
    self.publication = publication
  }

  func received(_ message: ByteBuffer) {
    guard observer == nil,
      let request = call.decode(Grpc_Health_V1_HealthCheckRequest.self, from: message)
    else { return closed() }
    guard request.service.isEmpty else {
      var response = Grpc_Health_V1_HealthCheckResponse()
      response.status = .serviceUnknown
      _ = call.send(response)
      return
    }
    observer = publication.observeLeader { [self] in call.eventLoop.execute { [self] in say() } }
    say()
  }

  /// Only the newest matters: a slow caller misses what was over before it was heard.
  private func say() {
    guard observer != nil, call.isWritable else { return }
    let isServing = publication.snapshot.leader != nil
    guard isServing != said else { return }
    said = isServing
    _ = call.send(HealthService.response(isServing: isServing))
  }

  func halfClosed() {}
  func writable() { say() }

  func closed() {
    if let observer { publication.endObserving(observer) }
    observer = nil
  }
}
