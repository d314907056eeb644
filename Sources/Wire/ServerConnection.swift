// The server's end of one HTTP/2 connection: it turns frames into calls and answers into frames. What is no call, as
// browsers and curl make when TLS lets them choose HTTP/2, is an exchange of plain HTTP.
//
// Invariants:
// - `account` has what the peer makes this node hold for it (ConnectionLimits.swift).
// - `calls` and `exchanges` hold exactly the calls and exchanges that are not over.
// - A WINDOW_UPDATE is sent when half of a window is used, never for a stream whose request has ended.
// - Frames written while a read is being handled leave when that read is complete; all others with the loop's scheduler.

import Logging
import NIOCore
import NIOHPACK
import NIOHTTP2

final class ServerConnection: ChannelInboundHandler, Flushable, CallChannel {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  let eventLoop: any EventLoop
  let allocator: ByteBufferAllocator
  let limits: WireLimits
  /// Set before the first call where the peer showed a certificate that was verified.
  var peerCommonName: String?
  private let router: any RPCRouter
  private let http: HTTPResponder
  private let scheduler: FlushScheduler
  let logger: Logger
  private let errors: ConnectionErrorDetector

  private(set) var calls: [HTTP2StreamID: ServerCall] = [:]
  private(set) var exchanges: [HTTP2StreamID: HTTPExchange] = [:]
  /// Streams that HTTP/2 still counts as open: a call can be over while its last bytes wait for the peer.
  private(set) var openStreams = 0
  private(set) var highestStreamID = HTTP2StreamID.rootStream
  private(set) var context: ChannelHandlerContext?
  var account: ConnectionAccount
  private var isReading = false
  private var isFlushScheduled = false
  private var isDraining = false
  var isClosing = false
  private let traffic: WireTraffic
  /// Bytes of messages that `traffic` was not told of yet.
  private var received = 0
  private var sent = 0
  var keepalive: Keepalive
  var keepaliveTimer: Scheduled<Void>?

  init(
    channel: any Channel, limits: WireLimits, router: any RPCRouter, http: @escaping HTTPResponder,
    scheduler: FlushScheduler, errors: ConnectionErrorDetector, account: ConnectionAccount, traffic: WireTraffic,
    logger: Logger
  ) {
    self.account = account
    self.eventLoop = channel.eventLoop
    self.allocator = channel.allocator
    self.limits = limits
    self.router = router
    self.http = http
    self.scheduler = scheduler
    self.errors = errors
    self.traffic = traffic
    self.logger = logger
    self.keepalive = Keepalive(limits.keepalive)
  }

  var isWritable: Bool { self.context?.channel.isWritable ?? false }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    let increment = self.limits.connectionWindowBytes - HTTP2Windows.initialConnectionBytes
    if increment > 0 {
      self.write(.windowUpdate(windowSizeIncrement: increment), on: .rootStream)
      self.flushSoon()
    }
    self.account.lookout.add(self)
    self.lookAfterSilence()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.account.lookout.remove(self)
    self.keepaliveTimer?.cancel()
    self.keepaliveTimer = nil
    self.context = nil
  }

  // MARK: Frames in

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.isReading = true
    let frame = self.unwrapInboundIn(data)
    switch frame.payload {
    case .data(let payload):
      guard case .byteBuffer(let bytes) = payload.data else { return }
      guard let call = self.calls[frame.streamID] else {
        self.exchanges[frame.streamID]?.receive(bytes, isEnd: payload.endStream)
        return
      }
      self.receive(bytes, isEnd: payload.endStream, call: call)
    case .headers(let payload):
      if frame.streamID > self.highestStreamID {
        self.highestStreamID = frame.streamID
        self.openStreams += 1
        self.open(frame.streamID, headers: payload.headers, isEnd: payload.endStream)
      } else if payload.endStream {
        if let call = self.calls[frame.streamID] { return self.receiveEnd(of: call) }
        self.exchanges[frame.streamID]?.receiveEnd()
      }
    case .ping(_, ack: false):
      if self.keepalive.isTooMany(at: .now(), hasCalls: !self.calls.isEmpty || !self.exchanges.isEmpty) {
        self.endOverPings()
      }
    default:
      // Resets and windows come as events; settings and pings are answered by the HTTP/2 library.
      break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    self.isReading = false
    self.keepalive.hasRead = true
    self.reportTraffic()
    // The HTTP/2 handler has flushed the replies of this read before it passed the event on. Only what that flush itself
    // set off is left, which is rare, and a flush of nothing is cheap.
    context.flush()
    if !context.channel.isWritable { self.checkBacklog() }
  }

  private func open(_ streamID: HTTP2StreamID, headers: HPACKHeaders, isEnd: Bool) {
    let head: RequestHead
    switch RequestHead.read(headers, now: NIODeadline.now) {
    case .success(let read):
      head = read
    case .failure(.http(.badRequest)):
      self.write(.headers(.init(headers: [":status": "400"], endStream: true)), on: streamID)
      self.endPeerSide(of: streamID, isHalfClosed: isEnd)
      return
    case .failure(.http(.noCall)):
      guard self.exchanges.count < self.limits.httpExchanges else {
        self.write(.rstStream(.refusedStream), on: streamID)
        return self.flushSoon()
      }
      let exchange = HTTPExchange(streamID: streamID, headers: headers, connection: self, responder: self.http)
      self.exchanges[streamID] = exchange
      if isEnd { exchange.receiveEnd() }
      return
    case .failure(.malformedTimeout(let value)):
      let status = RPCStatus(.internalError, "malformed grpc-timeout: \"\(value)\"")
      self.sendTrailersOnly(status, on: streamID, isHalfClosed: isEnd)
      return
    }
    self.account.lastUsedAtLook = self.account.look
    switch self.router.method(for: head.path) {
    case .unary(let handler):
      let call = UnaryCall(streamID: streamID, request: head, connection: self, handler: handler)
      call.openedAtLook = self.account.look
      self.calls[streamID] = call
      if isEnd { self.receiveEnd(of: call) }
    case .streaming(let make):
      guard self.account.budget.openStreamingCall(limit: self.limits.streamingCallsInAll) else {
        return self.sendTrailersOnly(.tooManyRequests, on: streamID, isHalfClosed: isEnd)
      }
      let call = StreamCall(streamID: streamID, request: head, connection: self)
      self.calls[streamID] = call
      call.open(with: make)
      if isEnd { self.receiveEnd(of: call) }
      if self.isDraining { call.drain() }
    case nil:
      self.sendTrailersOnly(
        RPCPathName.refusal(of: head.path, router: self.router), on: streamID, isHalfClosed: isEnd)
    }
  }

  private func receive(_ bytes: ByteBuffer, isEnd: Bool, call: ServerCall) {
    call.isHalfClosed = isEnd
    self.received += bytes.readableBytes
    call.assembler.append(bytes)
    do {
      while let message = try call.assembler.next(limitBytes: self.limits.messageBytes) {
        call.accept(message)
        if call.isOver { return }
      }
    } catch {
      call.refuse(error)
      return
    }
    if isEnd { self.receiveEnd(of: call) } else { self.hold(call) }
  }

  private func receiveEnd(of call: ServerCall) {
    guard !call.isOver else { return }
    call.isHalfClosed = true
    self.account.release(call)
    guard call.assembler.isEmpty else {
      call.refuse(RPCStatus(.internalError, "the request ended within a message"))
      return
    }
    call.acceptEnd()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? NIOHTTP2WindowUpdatedEvent {
      self.windowChanged(event)
    } else if let event = event as? StreamClosedEvent {
      self.openStreams -= 1
      self.account.lastUsedAtLook = self.account.look
      if let call = self.forget(event.streamID) {
        call.acceptLoss()
      } else if let exchange = self.exchanges.removeValue(forKey: event.streamID) {
        exchange.close()
      }
      self.closeIfDrained()
    } else if event is ChannelShouldQuiesceEvent {
      self.drain()
    } else if event is ConnectionsShortEvent {
      self.goIfIdle()
    }
  }

  private func windowChanged(_ event: NIOHTTP2WindowUpdatedEvent) {
    guard let window = event.inboundWindowSize else { return }
    if event.streamID == .rootStream {
      guard let increment = HTTP2Windows.increment(from: window, target: self.limits.connectionWindowBytes) else {
        return
      }
      self.write(.windowUpdate(windowSizeIncrement: increment), on: .rootStream)
    } else {
      guard let increment = HTTP2Windows.increment(from: window, target: self.limits.streamWindowBytes),
        self.calls[event.streamID].map({ !$0.isHalfClosed }) ?? (self.exchanges[event.streamID]?.isReceiving == true)
      else { return }
      self.write(.windowUpdate(windowSizeIncrement: increment), on: event.streamID)
    }
    self.flushSoon()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard context.channel.isWritable else { return }
    for case let call as StreamCall in Array(self.calls.values) {
      call.unblockIfPossible()
    }
    for exchange in Array(self.exchanges.values) { exchange.unblockIfPossible() }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Errors of one stream end as resets, which come as events. After an error of the connection the library has
    // written a GOAWAY, and nothing more can be read.
    self.logger.debug("connection error", metadata: ["error": "\(error)"])
    if self.errors.isConnectionBroken { context.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    let calls = self.calls.values
    self.calls = [:]
    for call in calls {
      self.account.forget(call)
      call.acceptLoss()
    }
    let exchanges = self.exchanges.values
    self.exchanges = [:]
    for exchange in exchanges { exchange.close() }
    context.fireChannelInactive()
  }

  // MARK: Frames out

  private static let replyHeaders = HTTP2Frame.FramePayload.headers(
    .init(headers: [":status": "200", "content-type": "application/grpc"]))
  static let successTrailers = HTTP2Frame.FramePayload.headers(
    .init(headers: ["grpc-status": "0"], endStream: true))

  /// A call is over, or nobody waits for it any more.
  @discardableResult
  func forget(_ streamID: HTTP2StreamID) -> ServerCall? {
    guard let call = self.calls.removeValue(forKey: streamID) else { return nil }
    self.account.forget(call)
    return call
  }

  func write(
    _ payload: HTTP2Frame.FramePayload, on streamID: HTTP2StreamID, promise: EventLoopPromise<Void>? = nil
  ) {
    guard let context = self.context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    context.write(self.wrapOutboundOut(HTTP2Frame(streamID: streamID, payload: payload)), promise: promise)
  }

  func sendReply(_ framed: ByteBuffer, on call: UnaryCall) {
    var promise: EventLoopPromise<Void>?
    if framed.readableBytes > ConnectionAccount.smallAnswerBytes {
      promise = self.takeOn(framed.readableBytes)
      if promise == nil { return self.sendStatus(.unreadAnswers, on: call, hasSentHeaders: false) }
    }
    self.forget(call.streamID)
    self.keepalive.sent(framed.readableBytes)
    self.sent += framed.readableBytes
    self.write(Self.replyHeaders, on: call.streamID)
    self.write(.data(.init(data: .byteBuffer(framed))), on: call.streamID, promise: promise)
    self.write(Self.successTrailers, on: call.streamID)
    self.endPeerSide(of: call.streamID, isHalfClosed: call.isHalfClosed)
  }

  func sendMessage(_ framed: ByteBuffer, on call: StreamCall, withHeaders: Bool, promise: EventLoopPromise<Void>) {
    self.keepalive.sent(framed.readableBytes)
    self.sent += framed.readableBytes
    if withHeaders { self.write(Self.replyHeaders, on: call.streamID) }
    self.write(.data(.init(data: .byteBuffer(framed))), on: call.streamID, promise: promise)
    self.flushSoon()
  }

  func giveUp(_ call: StreamCall) {
    self.forget(call.streamID)
    self.write(.rstStream(.enhanceYourCalm), on: call.streamID)
    self.flushSoon()
  }

  func endPeerSide(of streamID: HTTP2StreamID, isHalfClosed: Bool) {
    if !isHalfClosed { self.reset(streamID) }
    self.flushSoon()
  }

  func reset(_ streamID: HTTP2StreamID) {
    self.write(.rstStream(.noError), on: streamID)
    self.flushSoon()
  }

  /// Forgets an exchange whose reply is on its way.
  func finish(_ exchange: HTTPExchange) { self.exchanges.removeValue(forKey: exchange.streamID) }

  func flushSoon() {
    guard !self.isReading, !self.isFlushScheduled else { return }
    self.isFlushScheduled = true
    self.scheduler.add(self)
  }

  func flushNow() {
    self.isFlushScheduled = false
    self.reportTraffic()
    self.context?.flush()
  }

  private func reportTraffic() {
    self.traffic.add(received: self.received, sent: self.sent)
    (self.received, self.sent) = (0, 0)
  }

  // MARK: Stopping

  /// Lets calls in flight finish and takes no new ones. Streams above the announced number were never looked at, so the
  /// peer may safely send them elsewhere.
  func drain() {
    guard !self.isDraining else { return }
    self.isDraining = true
    self.write(
      .goAway(lastStreamID: self.highestStreamID, errorCode: .noError, opaqueData: nil), on: .rootStream)
    self.flushSoon()
    for call in Array(self.calls.values) { call.drain() }
    for exchange in Array(self.exchanges.values) { exchange.drain() }
    self.closeIfDrained()
  }

  private func closeIfDrained() {
    guard self.isDraining, !self.isClosing, self.openStreams == 0, let context = self.context else { return }
    self.isClosing = true
    // Writes complete in order, so when this one has left, everything before it has.
    let promise = self.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    self.write(
      .goAway(lastStreamID: self.highestStreamID, errorCode: .noError, opaqueData: nil), on: .rootStream,
      promise: promise)
    self.flushSoon()
  }
}
