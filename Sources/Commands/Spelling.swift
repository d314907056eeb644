// The nearest of the names that are known, for somebody who mistyped one.

enum Spelling {
  /// What is wrong, with a question behind it if a known name is near.
  static func advice(_ problem: String, for name: String, among known: [String], prefix: String) -> String {
    let nearest = known.map { (name: $0, distance: distance(name, $0)) }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    guard let nearest, nearest.distance <= max(2, name.count / 3) else { return problem }
    return "\(problem); did you mean \(prefix)\(nearest.name)?"
  }

  /// How many characters must be put in, left out or changed to get from one to the other (Levenshtein).
  private static func distance(_ left: String, _ right: String) -> Int {
    let right = Array(right)
    var row = Array(0...right.count)
    for (index, character) in left.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for column in right.indices {
        let change = diagonal + (character == right[column] ? 0 : 1)
        diagonal = row[column + 1]
        row[column + 1] = min(change, row[column] + 1, diagonal + 1)
      }
    }
    return row[right.count]
  }
}
