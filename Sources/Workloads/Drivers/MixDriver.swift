// Several kinds of operations, drawn by their weights. They share one oracle: what one of them was answered, the next must see.

import Measurement
import NIOCore
import Wire

final class MixDriver: LoadDriver {
  let parts: [String]
  private let drivers: [any WireDriver]
  /// The probability of all parts up to this one.
  private let upTo: [Double]
  private var random: SeededRandom

  init(_ plan: LoadPlan, _ place: LoopPlace, _ parts: [MixPart]) {
    let oracle = RevisionOracle()
    self.parts = parts.map(\.operation.name)
    drivers = parts.map { part in
      switch part.operation {
      case .get(let isSerializable): GetDriver(plan, place, oracle, isSerializable: isSerializable)
      case .compareAndSwap(let exponent): CompareDriver(plan, place, oracle, zipfExponent: exponent)
      case .put: PutDriver(plan, place, oracle)
      case .list(let limit): ListDriver(plan, place, oracle, limit: limit)
      default: preconditionFailure("\(part.operation.name) was let into a mix")
      }
    }
    let sum = parts.reduce(0) { $0 + $1.weight }
    var running = 0.0
    upTo = parts.map { part in
      running += part.weight / sum
      return running
    }
    random = SeededRandom(seed: plan.configuration.seed, stream: 0x6d69_7800 &+ UInt64(place.index))
  }

  func drawPart() -> Int {
    let point = random.unitInterval()
    return upTo.firstIndex { point < $0 } ?? upTo.count - 1
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    drivers[call.part].start(call, on: connection, lane: lane, sink)
  }
}

/// A driver of calls over the wire, whichever.
protocol WireDriver: LoadDriver where Connection == WireConnection {}
extension PutDriver: WireDriver {}
extension GetDriver: WireDriver {}
extension CompareDriver: WireDriver {}
extension ListDriver: WireDriver {}
