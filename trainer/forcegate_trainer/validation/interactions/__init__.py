"""What holds molecules together, against published references and the teacher."""
