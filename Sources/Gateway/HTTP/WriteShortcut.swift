// The short way of a write, `POST /db/{name}/execute`: from the parser to the writer's queue and back on the connection's
// event loop, without a task. A task's hops between threads cost one writer more than SQLite's commit.
//
// Confined to the event loop. It takes a request only where nothing has to be waited for but the commit (`ShortWrite` says
// when); all else goes on to the routes, whole, and so does what the engine did not carry out for a reason that they tell
// better. Must never let a later request, or the end of the connection's input, pass the one that it works on.

import FencedSQLite
import NIOCore
import NIOHTTP1

final class WriteShortcut: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    case idle
    case collecting(ShortWrite)
    case waiting
  }

  private let routes: GatewayRoutes
  private let inbox: LoopInbox
  private var state = State.idle
  /// Requests that went on to the routes and are not answered yet.
  private var openBelow = 0
  /// What came in while a write was waited for.
  private var held = CircularBuffer<HTTPServerRequestPart>()
  private var heldEvents: [Any] = []
  private var wantsRead = false
  private var context: ChannelHandlerContext?
  private var date = HTTPDate()
  private var lastToken: PresentedToken?
  private var lastFence: WrittenFence?

  init(routes: GatewayRoutes, inbox: LoopInbox) {
    self.routes = routes
    self.inbox = inbox
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  // MARK: What comes in

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .waiting = state { held.append(unwrapInboundIn(data)) } else { take(unwrapInboundIn(data), context) }
  }

  private func take(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
    switch (state, part) {
    case (.idle, .head(let head)):
      if openBelow == 0, let write = ShortWrite(head, routes) {
        state = .collecting(write)
      } else {
        openBelow += 1
        context.fireChannelRead(wrapInboundOut(part))
      }
    case (.collecting(var write), .body(let bytes)):
      state = .idle
      if write.add(bytes) { state = .collecting(write) } else { pass(write, context) }
    case (.collecting(let write), .end(let trailers)):
      state = .idle
      if trailers != nil || !start(write) { pass(write, end: part, context) }
    default: context.fireChannelRead(wrapInboundOut(part))
    }
  }

  /// Hands a request on to the routes, as far as it has come.
  private func pass(_ write: ShortWrite, end: HTTPServerRequestPart? = nil, _ context: ChannelHandlerContext) {
    openBelow += 1
    context.fireChannelRead(wrapInboundOut(.head(write.head)))
    for bytes in write.pieces { context.fireChannelRead(wrapInboundOut(.body(bytes))) }
    if let end { context.fireChannelRead(wrapInboundOut(end)) }
  }

  func read(context: ChannelHandlerContext) {
    if case .waiting = state { wantsRead = true } else { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch state {
    case .waiting: return heldEvents.append(event)
    case .collecting(let write):
      // The end of the input, or of the server: the routes know what becomes of a request that is not whole.
      state = .idle
      pass(write, context)
    case .idle: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { openBelow -= 1 }
    context.write(data, promise: promise)
  }

  // MARK: The write

  /// Answers false where it is one for the routes.
  private func start(_ write: ShortWrite) -> Bool {
    let bound = NIOLoopBound(self, eventLoop: inbox.eventLoop)
    return write.start(routes, last: &lastToken) { [inbox] ending in
      inbox.add { bound.value.ended(write, ending) }
    } onStart: {
      state = .waiting
    }
  }

  private func ended(_ write: ShortWrite, _ ending: ShortWrite.Ending) {
    state = .idle
    guard let context else { return }
    if let answer = write.answer(ending, date: date.now(), lastFence: &lastFence) {
      context.write(wrapOutboundOut(.head(answer.head)), promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(answer.body))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    } else {
      pass(write, end: .end(nil), context)
      context.fireChannelReadComplete()
    }
    goOn(context)
  }

  private func goOn(_ context: ChannelHandlerContext) {
    var hasRead = false
    while let part = held.popFirst() {
      hasRead = true
      take(part, context)
      if case .waiting = state { return }
    }
    if hasRead { context.fireChannelReadComplete() }
    while !heldEvents.isEmpty { userInboundEventTriggered(context: context, event: heldEvents.removeFirst()) }
    if wantsRead {
      wantsRead = false
      context.read()
    }
  }
}
