// The check of what is in the databases: rows as they are there, against what the holders were told, and grants against
// time. And changed copies of both, which it must reject.

/// A row as a database has it, in the order of insertion.
package struct StoredRow: Sendable, Equatable {
  package let id: Int
  package var number: Int64
  package var holder: Int

  package init(id: Int, number: Int64, holder: Int) {
    self.id = id
    self.number = number
    self.holder = holder
  }
}

package struct LedgerCheck {
  /// By scope, in the order of insertion.
  package var stored: [[StoredRow]]
  package var asked: [ChaosRow]
  package var grants: [ChaosGrant]

  package init(stored: [[StoredRow]], asked: [ChaosRow], grants: [ChaosGrant]) {
    self.stored = stored
    self.asked = asked
    self.grants = grants
  }

  /// What is wrong, empty when nothing is.
  package var problems: [String] {
    var problems: [String] = []
    var found = Array(repeating: 0, count: asked.count)
    for (scope, rows) in stored.enumerated() {
      problems += Self.problems(ofOrder: rows, scope)
      for row in rows {
        guard asked.indices.contains(row.id), asked[row.id].scope == scope else {
          problems.append("scope \(scope) has row \(row.id), which nobody asked for")
          continue
        }
        found[row.id] += 1
        let wanted = asked[row.id]
        if (row.number, row.holder) != (wanted.number, wanted.holder) {
          problems.append("row \(row.id) is \(row) and was asked for as \(wanted)")
        }
      }
    }
    for (id, row) in asked.enumerated() {
      switch row.outcome {
      case .acknowledged where found[id] == 0: problems.append("row \(id) was acknowledged and is not there: \(row)")
      case .refused where found[id] > 0: problems.append("row \(id) was refused and is there: \(row)")
      default: break
      }
      if found[id] > 1 { problems.append("row \(id) is there \(found[id]) times: \(row)") }
    }
    return problems + grantProblems
  }

  /// Numbers never fall: a newer holder's row has no older holder's behind it.
  private static func problems(ofOrder rows: [StoredRow], _ scope: Int) -> [String] {
    zip(rows, rows.dropFirst()).compactMap { earlier, later in
      if later.number > earlier.number { return nil }
      if later.number == earlier.number, later.holder == earlier.holder { return nil }
      return "in scope \(scope), \(later) was inserted behind \(earlier)"
    }
  }

  /// A grant that was asked for when another had been made has the higher number, and no number is granted twice.
  private var grantProblems: [String] {
    var problems: [String] = []
    for scope in stored.indices {
      let mine = grants.filter { $0.scope == scope }
      var holders: [Int64: Int] = [:]
      for grant in mine {
        if holders.updateValue(grant.holder, forKey: grant.number) != nil {
          problems.append("scope \(scope): number \(grant.number) was granted twice")
        }
      }
      let byReturn = mine.sorted { $0.returned < $1.returned }
      var next = 0
      var highest: ChaosGrant?
      for grant in mine.sorted(by: { $0.invoked < $1.invoked }) {
        while next < byReturn.count, byReturn[next].returned < grant.invoked {
          if byReturn[next].number > highest?.number ?? 0 { highest = byReturn[next] }
          next += 1
        }
        if let highest, grant.number <= highest.number {
          problems.append("scope \(scope): \(grant) came after \(highest) and is not above it")
        }
      }
      for row in stored[scope] where holders[row.number] != row.holder {
        problems.append("scope \(scope): \(row) has a number that its holder was not granted")
      }
    }
    return problems
  }
}

/// What a broken system would have left: each copy has one thing changed.
package struct LedgerPlant: Sendable {
  package let name: String
  package let check: LedgerCheck

  /// Those for which every run has a place.
  static let needed: Set<String> = [
    "an acknowledged row that is gone", "a row that is there twice", "an older number behind a newer one",
    "numbers of grants that fall",
  ]

  /// One of each kind that there is a place for.
  package static func all(of check: LedgerCheck) -> [LedgerPlant] {
    [
      plant("an acknowledged row that is gone", check, lose), plant("a row that is there twice", check, double),
      plant("an older number behind a newer one", check, swapRows), plant("a refused row that is there", check, admit),
      plant("numbers of grants that fall", check, swapGrants),
    ].compactMap { $0 }
  }

  private static func plant(
    _ name: String, _ check: LedgerCheck, _ change: (inout LedgerCheck) -> Bool
  ) -> LedgerPlant? {
    var changed = check
    return change(&changed) ? LedgerPlant(name: name, check: changed) : nil
  }

  private static func lose(_ check: inout LedgerCheck) -> Bool {
    for scope in check.stored.indices {
      let place = check.stored[scope].lastIndex { check.asked[$0.id].outcome == .acknowledged }
      guard let place else { continue }
      check.stored[scope].remove(at: place)
      return true
    }
    return false
  }

  private static func double(_ check: inout LedgerCheck) -> Bool {
    guard let scope = check.stored.firstIndex(where: { !$0.isEmpty }), let last = check.stored[scope].last else {
      return false
    }
    check.stored[scope].append(last)
    return true
  }

  private static func swapRows(_ check: inout LedgerCheck) -> Bool {
    for scope in check.stored.indices {
      let rows = check.stored[scope]
      guard let place = rows.indices.dropLast().last(where: { rows[$0].number < rows[$0 + 1].number }) else { continue }
      check.stored[scope].swapAt(place, place + 1)
      return true
    }
    return false
  }

  private static func admit(_ check: inout LedgerCheck) -> Bool {
    guard let id = check.asked.lastIndex(where: { $0.outcome == .refused }) else { return false }
    let row = check.asked[id]
    // Where its number would have its place, so that nothing but the refusal is against it.
    let place = check.stored[row.scope].lastIndex { $0.number <= row.number }.map { $0 + 1 } ?? 0
    check.stored[row.scope].insert(StoredRow(id: id, number: row.number, holder: row.holder), at: place)
    return true
  }

  private static func swapGrants(_ check: inout LedgerCheck) -> Bool {
    for (earlier, grant) in check.grants.enumerated() {
      let later = check.grants.indices.dropFirst(earlier + 1).first {
        check.grants[$0].scope == grant.scope && check.grants[$0].holder == grant.holder
          && check.grants[$0].invoked > grant.returned
      }
      guard let later else { continue }
      let number = grant.number
      check.grants[earlier].number = check.grants[later].number
      check.grants[later].number = number
      return true
    }
    return false
  }
}
