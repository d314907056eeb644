// All databases of a gateway. A few are open from the start; of many, those that are asked for.
//
// Must never keep more open than it may, as far as they are idle: each has a lock, threads and descriptors.

package import Logging

package final class DatabaseShelf: Sendable {
  /// In the order of their declaration. The first is the default database.
  package let slots: [DatabaseSlot]
  private let slotByName: [String: DatabaseSlot]
  private let limits: GatewayLimits

  package init(_ declarations: [DatabaseDeclaration], limits: GatewayLimits, logger: Logger) {
    slots = declarations.map { DatabaseSlot($0, limits: limits.engine, logger: logger) }
    slotByName = Dictionary(uniqueKeysWithValues: slots.map { ($0.declaration.name, $0) })
    self.limits = limits
  }

  package func slot(_ name: String) -> DatabaseSlot? { slotByName[name] }

  /// Whether files are opened only when they are asked for, and closed again.
  package var isLazy: Bool { slots.count > limits.openDatabases }

  /// Closes what was not used for long, and of the rest what is too many, the longest unused first. Answers how many it
  /// closed.
  @discardableResult
  package func tidy() async -> Int {
    guard isLazy else { return 0 }
    let idle = slots.compactMap { slot in slot.idleNanoseconds.map { (slot, $0) } }.sorted { $0.1 > $1.1 }
    let excess = slots.count { $0.isOpen } - limits.openDatabases
    var closed = 0
    for (slot, nanoseconds) in idle
    where nanoseconds >= UInt64(limits.idleSeconds * 1e9) || closed < excess {
      await slot.closeIfIdle()
      closed += 1
    }
    return closed
  }

  package func end() async {
    await withDiscardingTaskGroup { group in
      for slot in slots { group.addTask { await slot.end() } }
    }
  }
}
