// Watches over one connection of a client: a head or a body that trickles in, an answer that is not read, a connection
// that does nothing, and what is no HTTP.
//
// Confined to the connection's event loop. Must never count the gateway's own slowness against the client: while the
// gateway does not want to read, no time runs for the body. It tells time by looking around at an interval, because a
// timer for each request would cost more than all else here.

import NIOCore
import NIOHTTP1

final class ConnectionKeeper: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  /// How long a connection that was told to go may take to read its last answer.
  private static let farewellSeconds = 2.0

  private let entry: OpenConnections.Entry
  private let limits: GatewayLimits
  private let interval: TimeAmount
  private var timer: Scheduled<Void>?
  private var context: ChannelHandlerContext?

  /// Requests whose head was read and whose answer is not whole yet.
  private var openRequests = 0
  private var isReceivingBody = false
  private var hasBegunAnswer = false
  /// Bytes came since the last request was whole, and no head yet.
  private var hasPartialHead = false
  private var wantsBytes = false
  private var closesAfterAnswer = false
  private var isClosing = false

  /// Since when, in looks, what is being waited for is waited for.
  private var look = 0
  private var waitingSinceLook = 0
  private var bodyBytesInWindow = 0
  private var writtenBytes = 0
  private var takenBytes = 0
  private var stalledSinceLook: Int?

  init(entry: OpenConnections.Entry, limits: GatewayLimits) {
    self.entry = entry
    self.limits = limits
    let shortest = min(limits.headSeconds, limits.bodyWindowSeconds, limits.stallSeconds, limits.idleConnectionSeconds)
    interval = .nanoseconds(Int64(min(1, shortest / 4) * 1e9))
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    schedule(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
    self.context = nil
  }

  private func schedule(_ context: ChannelHandlerContext) {
    timer = context.eventLoop.assumeIsolated().scheduleTask(in: interval) {
      self.lookAround(context)
      if self.context != nil { self.schedule(context) }
    }
  }

  // MARK: What comes and goes

  /// Bytes came from the client, before they are parsed.
  func received(_ count: Int) {
    if isReceivingBody { return bodyBytesInWindow += count }
    guard !hasPartialHead else { return }
    if openRequests == 0 { waitingSinceLook = look }
    hasPartialHead = true
  }

  /// Bytes were handed to the socket.
  func sent(_ count: Int) { writtenBytes += count }

  func read(context: ChannelHandlerContext) {
    wantsBytes = true
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    switch unwrapInboundIn(data) {
    case .head:
      openRequests += 1
      entry.isBusy()
      hasPartialHead = false
      isReceivingBody = true
      hasBegunAnswer = openRequests > 1 && hasBegunAnswer
      waitingSinceLook = look
      bodyBytesInWindow = 0
    case .body: break
    case .end: isReceivingBody = false
    }
    wantsBytes = false
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isClosing else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(let head):
      hasBegunAnswer = true
      closesAfterAnswer = !head.isKeepAlive
    case .body: break
    case .end:
      openRequests -= 1
      hasBegunAnswer = false
      waitingSinceLook = look
      if openRequests == 0 { entry.isIdle() }
      if closesAfterAnswer {
        context.writeAndFlush(data, promise: promise)
        return bidFarewell(context)
      }
    }
    context.write(data, promise: promise)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is MakeRoomEvent, openRequests == 0 { return context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  /// What the parser cannot read. An answer that is under way goes first, and is then the last one.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? HTTPParserError, !isClosing else {
      return isClosing ? () : context.fireErrorCaught(error)
    }
    guard openRequests == 0 || (openRequests == 1 && isReceivingBody && !hasBegunAnswer) else {
      return context.fireErrorCaught(error)
    }
    answer(error == .headerOverflow ? RawAnswer.headersTooLarge : RawAnswer.unreadable, context)
  }

  // MARK: Time

  private func looks(in seconds: Double) -> Int {
    Int((seconds * 1e9 / Double(interval.nanoseconds)).rounded(.up))
  }

  private func lookAround(_ context: ChannelHandlerContext) {
    look += 1
    let waited = look - waitingSinceLook
    if isClosing {
      if waited > looks(in: Self.farewellSeconds) { context.close(promise: nil) }
      return
    }
    lookForStall(context)
    if openRequests == 0 {
      if hasPartialHead, waited > looks(in: limits.headSeconds) { return answer(RawAnswer.headTooLate, context) }
      if waited > looks(in: limits.idleConnectionSeconds) { context.close(promise: nil) }
    } else if isReceivingBody {
      lookAtBody(waited, context)
    }
  }

  private func lookAtBody(_ waited: Int, _ context: ChannelHandlerContext) {
    guard wantsBytes else {
      (waitingSinceLook, bodyBytesInWindow) = (look, 0)
      return
    }
    guard waited > looks(in: limits.bodyWindowSeconds) else { return }
    if bodyBytesInWindow < limits.leastBodyBytes {
      if openRequests == 1, !hasBegunAnswer { return answer(RawAnswer.headTooLate, context) }
      return context.close(promise: nil)
    }
    (waitingSinceLook, bodyBytesInWindow) = (look, 0)
  }

  /// Who takes next to nothing of an answer holds memory, and a reader of the database perhaps.
  private func lookForStall(_ context: ChannelHandlerContext) {
    let backlog = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    guard backlog > 0 else {
      stalledSinceLook = nil
      return
    }
    let taken = writtenBytes - backlog
    guard let since = stalledSinceLook, taken - takenBytes < limits.leastBodyBytes else {
      (stalledSinceLook, takenBytes) = (look, taken)
      return
    }
    if look - since > looks(in: limits.stallSeconds) { context.close(promise: nil) }
  }

  // MARK: The end

  /// Says what is wrong past the encoder, which may be in the middle of nothing, and lets the connection go.
  private func answer(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
    isClosing = true
    waitingSinceLook = look
    guard let front = try? context.pipeline.syncOperations.context(handlerType: ByteWatch.self) else {
      return context.close(promise: nil)
    }
    front.writeAndFlush(NIOAny(bytes)).assumeIsolated().whenComplete { _ in
      context.close(mode: .output, promise: nil)
    }
  }

  /// The last answer is out. What the client still sends is thrown away for a while: closing on it at once could take the
  /// answer from it (RFC 9112, section 9.6).
  private func bidFarewell(_ context: ChannelHandlerContext) {
    isClosing = true
    waitingSinceLook = look
    context.close(mode: .output, promise: nil)
  }
}

/// Tells the keeper of bytes, which stand on the other side of the parser.
final class ByteWatch: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = IOData

  private let keeper: ConnectionKeeper

  init(_ keeper: ConnectionKeeper) { self.keeper = keeper }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    keeper.received(unwrapInboundIn(data).readableBytes)
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    keeper.sent(unwrapOutboundIn(data).readableBytes)
    context.write(data, promise: promise)
  }
}
