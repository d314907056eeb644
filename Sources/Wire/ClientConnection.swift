// The client's end of one HTTP/2 connection: it turns calls into frames and frames into answers.
//
// Invariants:
// - `calls` holds exactly the calls that are not over.
// - `timer` fires no later than the earliest deadline of any call.
// - The peer's limit of concurrent streams and its windows are kept by the HTTP/2 library, which holds frames back.

import NIOCore
import NIOHPACK
import NIOHTTP2

final class ClientConnection: ChannelInboundHandler, Flushable {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private let eventLoop: any EventLoop
  private let allocator: ByteBufferAllocator
  private let limits: WireLimits
  private let authority: String
  private let scheme: String
  private let scheduler: FlushScheduler
  private let errors: ConnectionErrorDetector

  private var context: ChannelHandlerContext?
  private var calls: [HTTP2StreamID: ClientCall] = [:]
  private var nextStreamID = HTTP2StreamID(1)
  /// Header blocks of paths called before; a call without metadata and deadline needs no block of its own.
  private var requestHeaders: [String: HPACKHeaders] = [:]
  private var timer: Scheduled<Void>?
  private var timerDeadline = NIODeadline.distantFuture
  private var isReading = false
  private var isFlushScheduled = false
  /// Why no more calls are taken.
  private var refusal: RPCStatus?

  init(
    channel: any Channel, authority: String, scheme: String, limits: WireLimits, scheduler: FlushScheduler,
    errors: ConnectionErrorDetector
  ) {
    self.eventLoop = channel.eventLoop
    self.allocator = channel.allocator
    self.authority = authority
    self.scheme = scheme
    self.limits = limits
    self.scheduler = scheduler
    self.errors = errors
  }

  // MARK: Calls

  /// Opens a stream and sends its headers; nil when the connection takes no calls, and then the sink has been told.
  func open(
    _ path: String, metadata: [(String, String)], deadline: NIODeadline?, sink: ClientCall.Sink
  ) -> ClientCall? {
    self.eventLoop.assertInEventLoop()
    let call = ClientCall(streamID: self.nextStreamID, deadline: deadline, sink: sink)
    if let refusal = self.refusal {
      call.finish(refusal)
      return nil
    }
    guard self.nextStreamID < HTTP2StreamID.maxID else {
      // RFC 9113, section 5.1.1: stream numbers are never used again.
      let status = RPCStatus(
        .unavailable, "the connection to \(self.authority) has used up its stream numbers; connect anew")
      call.finish(status)
      return nil
    }
    self.nextStreamID = self.nextStreamID.advanced(by: 2)
    self.calls[call.streamID] = call
    let headers = self.headers(path, metadata: metadata, deadline: deadline)
    self.write(.headers(.init(headers: headers)), on: call.streamID)
    if let deadline { self.watch(deadline) }
    return call
  }

  func send(_ message: ByteBuffer, isEnd: Bool, on call: ClientCall) {
    self.send(framed: MessageFraming.framed(message, allocator: self.allocator), isEnd: isEnd, on: call)
  }

  func send(framed: ByteBuffer, isEnd: Bool, on call: ClientCall) {
    guard !call.isOver, !call.isHalfClosed else { return }
    call.isHalfClosed = isEnd
    self.write(.data(.init(data: .byteBuffer(framed), endStream: isEnd)), on: call.streamID)
    self.flushSoon()
  }

  func halfClose(_ call: ClientCall) {
    guard !call.isOver, !call.isHalfClosed else { return }
    call.isHalfClosed = true
    self.write(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)), on: call.streamID)
    self.flushSoon()
  }

  /// Ends a call from this side.
  func cancel(_ call: ClientCall, status: RPCStatus) {
    guard self.calls.removeValue(forKey: call.streamID) != nil else { return }
    self.write(.rstStream(.cancel), on: call.streamID)
    self.flushSoon()
    call.finish(status)
  }

  private func headers(_ path: String, metadata: [(String, String)], deadline: NIODeadline?) -> HPACKHeaders {
    var headers: HPACKHeaders
    if let known = self.requestHeaders[path] {
      headers = known
    } else {
      headers = [
        ":method": "POST", ":scheme": self.scheme, ":path": path, ":authority": self.authority,
        "content-type": "application/grpc", "te": "trailers", "user-agent": "portcullis",
      ]
      self.requestHeaders[path] = headers
    }
    if let deadline {
      // Different in nearly every call, so it must not push useful entries out of the peer's header table.
      headers.add(
        name: "grpc-timeout", value: RequestHead.timeout(deadline - NIODeadline.now()), indexing: .nonIndexable)
    }
    for (name, value) in metadata {
      headers.add(name: name.lowercased(), value: value)
    }
    return headers
  }

  // MARK: Deadlines

  /// One timer for the whole connection: a timer for every call would cost as much as the rest of the call.
  private func watch(_ deadline: NIODeadline) {
    guard deadline < self.timerDeadline else { return }
    self.timer?.cancel()
    self.timerDeadline = deadline
    self.timer = self.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.expire() }
  }

  private func expire() {
    self.timer = nil
    self.timerDeadline = .distantFuture
    let now = NIODeadline.now()
    var next = NIODeadline.distantFuture
    var expired: [ClientCall] = []
    for call in self.calls.values {
      guard let deadline = call.deadline else { continue }
      if deadline <= now {
        expired.append(call)
      } else {
        next = min(next, deadline)
      }
    }
    if next < .distantFuture { self.watch(next) }
    // A late timer finds several at once; their callers still hear in the order of their deadlines.
    expired.sort { ($0.deadline ?? now, $0.streamID) < ($1.deadline ?? now, $1.streamID) }
    for call in expired {
      self.cancel(call, status: RPCStatus(.deadlineExceeded, "the deadline passed before \(self.authority) answered"))
    }
  }

  // MARK: Frames in

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    let increment = self.limits.connectionWindowBytes - HTTP2Windows.initialConnectionBytes
    if increment > 0 {
      self.write(.windowUpdate(windowSizeIncrement: increment), on: .rootStream)
      self.flushSoon()
    }
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.isReading = true
    let frame = self.unwrapInboundIn(data)
    switch frame.payload {
    case .data(let payload):
      guard let call = self.calls[frame.streamID], case .byteBuffer(let bytes) = payload.data else { return }
      if let status = call.receive(bytes, isEnd: payload.endStream, limitBytes: self.limits.messageBytes) {
        self.end(call, status: status, isEnd: payload.endStream)
      }
    case .headers(let payload):
      guard let call = self.calls[frame.streamID] else { return }
      if let status = call.receive(payload.headers, isEnd: payload.endStream) {
        self.end(call, status: status, isEnd: payload.endStream)
      }
    case .goAway(let lastStreamID, let code, let data):
      var status = RPCStatus(
        .unavailable, "\(self.authority) takes no more calls on this connection (\(code)); connect anew")
      if code == .inadequateSecurity {
        // A port that speaks TLS answers plain text so, and says in the data what to do.
        let advice = data.map { String(buffer: $0) }
        status = RPCStatus(unusable: TLSError(.notTLS, "\(self.authority) takes no plain text: \(advice ?? "use TLS")"))
      }
      self.refuseCalls(status, above: lastStreamID)
    default:
      break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    self.isReading = false
    // The HTTP/2 handler has flushed the calls made during this read before it passed the event on. Only what that flush
    // itself set off is left, which is rare, and a flush of nothing is cheap.
    context.flush()
  }

  private func end(_ call: ClientCall, status: RPCStatus, isEnd: Bool) {
    guard self.calls.removeValue(forKey: call.streamID) != nil else { return }
    if !isEnd || !call.isHalfClosed {
      // One side still has the stream open, and nobody is interested any more.
      self.write(.rstStream(isEnd ? .noError : .cancel), on: call.streamID)
      self.flushSoon()
    }
    call.finish(status)
  }

  private func refuseCalls(_ status: RPCStatus, above lastStreamID: HTTP2StreamID) {
    if self.refusal == nil { self.refusal = status }
    for call in self.calls.values.filter({ $0.streamID > lastStreamID }) {
      self.calls.removeValue(forKey: call.streamID)
      call.finish(status)
    }
    if self.calls.isEmpty { self.context?.close(promise: nil) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? NIOHTTP2WindowUpdatedEvent {
      self.windowChanged(event)
    } else if let event = event as? StreamClosedEvent {
      if let call = self.calls.removeValue(forKey: event.streamID) {
        call.finish(.reset(event.reason))
      }
      if self.refusal != nil, self.calls.isEmpty { context.close(promise: nil) }
    }
  }

  private func windowChanged(_ event: NIOHTTP2WindowUpdatedEvent) {
    guard let window = event.inboundWindowSize else { return }
    let isConnection = event.streamID == .rootStream
    let target = isConnection ? self.limits.connectionWindowBytes : self.limits.streamWindowBytes
    guard let increment = HTTP2Windows.increment(from: window, target: target),
      isConnection || self.calls[event.streamID] != nil
    else { return }
    self.write(.windowUpdate(windowSizeIncrement: increment), on: event.streamID)
    self.flushSoon()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let error = TLSError(error, .client), self.refusal == nil {
      // With TLS 1.3 a server that refuses the client's certificate says so when the client has begun to talk.
      self.refusal = .tls(error, to: self.authority)
    } else if !(error is NIOHTTP2Errors.StreamError), self.refusal == nil,
      self.errors.isConnectionBroken || error is IOError
    {
      self.refusal = RPCStatus(.unavailable, "the connection to \(self.authority) failed: \(error)")
    }
    if self.errors.isConnectionBroken { context.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    let status = self.refusal ?? RPCStatus(.unavailable, "the connection to \(self.authority) was closed")
    self.refusal = status
    self.timer?.cancel()
    self.timer = nil
    let calls = self.calls.values
    self.calls = [:]
    for call in calls { call.finish(status) }
    context.fireChannelInactive()
  }

  // MARK: Frames out

  private func write(_ payload: HTTP2Frame.FramePayload, on streamID: HTTP2StreamID) {
    self.context?.write(self.wrapOutboundOut(HTTP2Frame(streamID: streamID, payload: payload)), promise: nil)
  }

  func flushSoon() {
    guard !self.isReading, !self.isFlushScheduled else { return }
    self.isFlushScheduled = true
    self.scheduler.add(self)
  }

  func flushNow() {
    self.isFlushScheduled = false
    self.context?.flush()
  }
}
