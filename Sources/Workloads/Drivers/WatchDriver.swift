// Watch fan-out: each operation puts the loop's key, and is over when the put is answered and every watcher of the loop has
// been told. A value begins with the operation's number, by which an event is known again.

import Foundation
import Measurement
import NIOCore
import Protocol
import Wire

final class WatchDriver: LoadDriver {
  private struct Pending {
    let ticket: OperationTable.Ticket
    let intended: UInt64
    var acknowledgedAt: UInt64?
    var violation: String?
    /// Watchers that have not been told.
    var left: Int
  }

  private let key: String
  private let padding: Data
  private let watchersOfLane: [Int]
  private let oracle = RevisionOracle()
  private let frame: LoadFrame
  private var streams: [Stream] = []
  private var pending: [UInt64: Pending] = [:]
  private var numberOf: [OperationTable.Ticket: UInt64] = [:]
  private var lastNumber: UInt64 = 0
  private var deliveries = DeliveryFigures()

  init(_ plan: LoadPlan, _ place: LoopPlace, watchers: Int) {
    key = "\(plan.configuration.keyPrefix)watched-\(place.index)"
    frame = place.frame
    let own = (watchers - place.index + place.count - 1) / place.count
    watchersOfLane = (0..<place.lanes).map { (own - $0 + place.lanes - 1) / place.lanes }
    var random = SeededRandom(seed: plan.configuration.seed, stream: 0x7761_7463_68)
    let rest = Swift.max(0, plan.configuration.valueSizeBytes - 8)
    padding = Data((0..<rest).map { _ in UInt8.random(in: 0...255, using: &random) })
  }

  /// Ready when the target has confirmed every watcher. Those of a connection share a stream, as clients have it.
  func begin(on connection: WireConnection, lane: Int, _ sink: any OperationSink) -> EventLoopFuture<Void> {
    let count = watchersOfLane[lane]
    guard count > 0 else { return connection.eventLoop.makeSucceededVoidFuture() }
    let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
    let stream = Stream(driver: bound, sink: sink, ready: connection.eventLoop.makePromise(), watchers: count)
    let call = connection.openStream(RPCPath.Watch.watch, handler: stream)
    let request = Etcdserverpb_WatchRequest.with { $0.createRequest = .with { $0.key = Data(key.utf8) } }
    for _ in 0..<count { call.send(.encoding(request)) }
    streams.append(stream)
    return stream.ready.futureResult
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    lastNumber += 1
    let (number, before) = (lastNumber, oracle.highest)
    pending[number] = Pending(
      ticket: call.ticket, intended: call.intended, left: streams.reduce(0) { $0 + $1.watchers })
    numberOf[call.ticket] = number
    let request = Etcdserverpb_PutRequest.with {
      $0.key = Data(key.utf8)
      $0.value = withUnsafeBytes(of: number.bigEndian) { Data($0) } + padding
    }
    let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.KV.put, .encoding(request)) { result in
      bound.value.acknowledged(number, result, before, sink)
    }
  }

  func forget(_ ticket: OperationTable.Ticket) {
    if let number = numberOf.removeValue(forKey: ticket) { pending[number] = nil }
  }

  func collect(into figures: inout LoadFigures) {
    figures.deliveries = deliveries
    deliveries = DeliveryFigures()
  }

  private func acknowledged(
    _ number: UInt64, _ result: Result<ByteBuffer, RPCStatus>, _ before: Int64, _ sink: any OperationSink
  ) {
    guard var put = pending[number] else { return }
    switch result {
    case .failure(let status):
      forget(put.ticket)
      sink.ended(put.ticket, OperationEnding(.failed(status)))
    case .success(let answer):
      put.acknowledgedAt = MonotonicClock.nanoseconds()
      put.violation = put.violation ?? oracle.checkWrite(PutAnswer.revision(in: answer), after: before)
      pending[number] = put
      endIfDone(number, put, sink)
    }
  }

  private func endIfDone(_ number: UInt64, _ put: Pending, _ sink: any OperationSink) {
    guard put.left <= 0, put.acknowledgedAt != nil else { return }
    forget(put.ticket)
    sink.ended(put.ticket, OperationEnding(.succeeded, violation: put.violation))
  }

  /// - Parameter last: the revision of what the same watcher was told before.
  private func told(_ event: Mvccpb_Event, after last: Int64, _ sink: any OperationSink) {
    let number = event.kv.value.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard var put = pending[number] else { return }
    if frame.holds(put.intended) { count(put) }
    if event.kv.modRevision <= last {
      put.violation = "an event of revision \(event.kv.modRevision) after one of \(last)"
    }
    put.left -= 1
    pending[number] = put
    endIfDone(number, put, sink)
  }

  private func count(_ put: Pending) {
    let now = MonotonicClock.nanoseconds()
    deliveries.events += 1
    deliveries.fromIntendedStart.record(nanoseconds: now > put.intended ? now - put.intended : 0)
    if let acknowledged = put.acknowledgedAt {
      deliveries.fromAcknowledgement.record(nanoseconds: now - acknowledged)
    } else {
      deliveries.beforeAcknowledgement += 1
    }
  }

  /// Those who were not told by it will not be any more.
  private func ended(_ stream: Stream, _ status: RPCStatus, _ sink: any OperationSink) {
    stream.ready.fail(status)
    streams.removeAll { $0 === stream }
    for put in pending.values {
      forget(put.ticket)
      sink.ended(put.ticket, OperationEnding(.failed(RPCStatus(.unavailable, "watchers were lost: \(status.message)"))))
    }
  }

  private final class Stream: ClientStreamHandler {
    let watchers: Int
    let ready: EventLoopPromise<Void>
    private let driver: NIOLoopBound<WatchDriver>
    private let sink: any OperationSink
    /// What each watcher was told last, by the number that the target gave it.
    private let revisions: NIOLoopBoundBox<[Int64: Int64]>

    init(
      driver: NIOLoopBound<WatchDriver>, sink: any OperationSink, ready: EventLoopPromise<Void>, watchers: Int
    ) {
      self.driver = driver
      self.sink = sink
      self.ready = ready
      self.watchers = watchers
      revisions = NIOLoopBoundBox([:], eventLoop: driver.eventLoop)
    }

    func received(_ message: ByteBuffer) {
      guard let answer = try? Etcdserverpb_WatchResponse(received: message) else { return }
      if answer.created {
        revisions.value[answer.watchID] = 0
        if revisions.value.count == watchers { ready.succeed() }
      }
      for event in answer.events {
        let last = revisions.value[answer.watchID] ?? 0
        revisions.value[answer.watchID] = event.kv.modRevision
        driver.value.told(event, after: last, sink)
      }
    }

    func closed(_ status: RPCStatus) { driver.value.ended(self, status, sink) }
  }
}
