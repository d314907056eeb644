// How the server ends a call: status and trailers as gRPC has them.

import NIOCore
import NIOHPACK
import NIOHTTP2

extension ServerConnection {
  func sendStatus(_ status: RPCStatus, on call: ServerCall, hasSentHeaders: Bool) {
    self.forget(call.streamID)
    guard hasSentHeaders else {
      self.sendTrailersOnly(status, on: call.streamID, isHalfClosed: call.isHalfClosed)
      return
    }
    guard status.code != .ok else {
      self.sendTrailers(Self.successTrailers, on: call.streamID, isHalfClosed: call.isHalfClosed)
      return
    }
    var trailers = HPACKHeaders()
    Self.append(status, to: &trailers)
    self.sendTrailers(
      .headers(.init(headers: trailers, endStream: true)), on: call.streamID, isHalfClosed: call.isHalfClosed)
  }

  func sendTrailersOnly(_ status: RPCStatus, on streamID: HTTP2StreamID, isHalfClosed: Bool) {
    var headers: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
    Self.append(status, to: &headers)
    self.sendTrailers(
      .headers(.init(headers: headers, endStream: true)), on: streamID, isHalfClosed: isHalfClosed)
  }

  /// Ends a stream with a frame that says so.
  func sendTrailers(_ payload: HTTP2Frame.FramePayload, on streamID: HTTP2StreamID, isHalfClosed: Bool) {
    self.keepalive.sent(0)
    guard !isHalfClosed else {
      self.write(payload, on: streamID)
      self.flushSoon()
      return
    }
    // The peer may still be sending. A reset with NO_ERROR tells it to stop (RFC 9113, section 8.1), but would throw
    // away what waits before it, so it follows only when the trailers have left.
    let promise = self.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenSuccess { self.reset(streamID) }
    self.write(payload, on: streamID, promise: promise)
    self.flushSoon()
  }

  private static func append(_ status: RPCStatus, to headers: inout HPACKHeaders) {
    headers.add(name: "grpc-status", value: String(status.code.rawValue))
    if !status.message.isEmpty {
      // Messages differ too much to be worth a place in the peer's header table.
      headers.add(name: "grpc-message", value: RPCStatus.percentEncoded(status.message), indexing: .nonIndexable)
    }
    for trailer in status.trailers { headers.add(name: trailer.name, value: trailer.value) }
  }
}
